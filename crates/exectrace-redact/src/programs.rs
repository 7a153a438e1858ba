//! Which flags of which programs have a secret behind them, as far as the flag's own name does not say so. Data, no code.

/// A flag of some programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProgramFlag {
    /// Names of files, without folders.
    pub(crate) programs: &'static [&'static str],
    /// A word that must stand between, such as `login`.
    pub(crate) subcommand: Option<&'static str>,
    /// With its dashes.
    pub(crate) flag: &'static str,
    /// Where its value is.
    pub(crate) place: Place,
    /// What of the value is secret.
    pub(crate) part: Part,
}

/// Where the value of a flag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the same word only, right behind the flag.
    Attached,
    /// In the next word only.
    Next,
    /// In the same word, or in the next one.
    Either,
}

/// What of a value is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// What stands behind the first of these bytes; nothing, if there is none.
    After(u8),
    /// What stands behind these letters; nothing, if it does not begin so.
    AfterPrefix(&'static str),
}

const fn flag(
    programs: &'static [&'static str],
    subcommand: Option<&'static str>,
    flag: &'static str,
    place: Place,
    part: Part,
) -> ProgramFlag {
    ProgramFlag { programs, subcommand, flag, place, part }
}

const MYSQL: &[&str] = &[
    "mysql",
    "mysqldump",
    "mysqladmin",
    "mysqlimport",
    "mysqlcheck",
    "mysqlshow",
    "mysqlslap",
    "mysqlpump",
    "mysqlsh",
    "mariadb",
    "mariadb-dump",
    "mariadb-admin",
    "mycli",
];
const CONTAINERS: &[&str] = &["docker", "podman", "nerdctl", "buildah", "skopeo", "oras", "helm", "crane", "az", "oc"];
const LDAP: &[&str] = &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldappasswd", "ldapcompare"];
const MONGO: &[&str] = &["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"];
const SMB: &[&str] = &["smbclient", "smbget", "rpcclient", "smbcacls", "mount.cifs"];
const SEVEN_ZIP: &[&str] = &["7z", "7za", "7zr", "7zz", "rar", "unrar"];
const CURL: &[&str] = &["curl", "curlie"];

/// All of them.
pub(crate) const FLAGS: &[ProgramFlag] = &[
    flag(MYSQL, None, "-p", Place::Attached, Part::Whole),
    flag(CURL, None, "-u", Place::Either, Part::After(b':')),
    flag(CURL, None, "--user", Place::Either, Part::After(b':')),
    flag(CURL, None, "-U", Place::Either, Part::After(b':')),
    flag(CURL, None, "--proxy-user", Place::Either, Part::After(b':')),
    flag(CURL, None, "-b", Place::Either, Part::After(b'=')),
    flag(CURL, None, "--cookie", Place::Either, Part::After(b'=')),
    flag(CURL, None, "--pass", Place::Either, Part::Whole),
    flag(CURL, None, "--oauth2-bearer", Place::Either, Part::Whole),
    flag(&["http", "https", "xh", "xhs"], None, "-a", Place::Either, Part::After(b':')),
    flag(&["http", "https", "xh", "xhs"], None, "--auth", Place::Either, Part::After(b':')),
    flag(&["sshpass"], None, "-p", Place::Either, Part::Whole),
    flag(&["redis-cli", "valkey-cli"], None, "-a", Place::Either, Part::Whole),
    flag(LDAP, None, "-w", Place::Either, Part::Whole),
    flag(CONTAINERS, Some("login"), "-p", Place::Either, Part::Whole),
    flag(&["skopeo"], None, "--creds", Place::Either, Part::After(b':')),
    flag(&["skopeo"], None, "--src-creds", Place::Either, Part::After(b':')),
    flag(&["skopeo"], None, "--dest-creds", Place::Either, Part::After(b':')),
    flag(&["podman", "buildah"], None, "--creds", Place::Either, Part::After(b':')),
    flag(MONGO, None, "-p", Place::Either, Part::Whole),
    flag(&["sqlcmd", "bcp", "isql"], None, "-P", Place::Either, Part::Whole),
    flag(SMB, None, "-U", Place::Either, Part::After(b'%')),
    flag(SMB, None, "--user", Place::Either, Part::After(b'%')),
    flag(&["mosquitto_pub", "mosquitto_sub"], None, "-P", Place::Either, Part::Whole),
    flag(&["ipmitool"], None, "-P", Place::Either, Part::Whole),
    flag(&["zip", "unzip", "zipcloak"], None, "-P", Place::Either, Part::Whole),
    flag(SEVEN_ZIP, None, "-p", Place::Attached, Part::Whole),
    flag(SEVEN_ZIP, None, "-hp", Place::Attached, Part::Whole),
    flag(&["lftp"], None, "-u", Place::Either, Part::After(b',')),
    flag(&["ncftpget", "ncftpput", "ncftp"], None, "-p", Place::Either, Part::Whole),
    flag(&["openssl"], None, "-passin", Place::Next, Part::AfterPrefix("pass:")),
    flag(&["openssl"], None, "-passout", Place::Next, Part::AfterPrefix("pass:")),
    flag(&["openssl"], None, "-pass", Place::Next, Part::AfterPrefix("pass:")),
    flag(&["openssl"], None, "-k", Place::Next, Part::Whole),
    flag(&["openssl"], None, "-K", Place::Next, Part::Whole),
    flag(&["openssl"], None, "-hmac", Place::Next, Part::Whole),
    flag(&["kubectl", "oc"], Some("secret"), "--from-literal", Place::Either, Part::After(b'=')),
    flag(&["xfreerdp", "xfreerdp3", "wfreerdp"], None, "/p:", Place::Attached, Part::Whole),
    flag(&["rdesktop"], None, "-p", Place::Either, Part::Whole),
    flag(&["snmpwalk", "snmpget", "snmpset", "snmpbulkwalk"], None, "-A", Place::Either, Part::Whole),
    flag(&["snmpwalk", "snmpget", "snmpset", "snmpbulkwalk"], None, "-X", Place::Either, Part::Whole),
    flag(&["nxc", "crackmapexec", "evil-winrm"], None, "-p", Place::Either, Part::Whole),
    flag(&["wget"], None, "--http-passwd", Place::Either, Part::Whole),
    flag(&["ssh-keygen"], None, "-N", Place::Next, Part::Whole),
    flag(&["ssh-keygen"], None, "-P", Place::Next, Part::Whole),
    flag(&["keytool"], None, "-storepass", Place::Next, Part::Whole),
    flag(&["keytool"], None, "-keypass", Place::Next, Part::Whole),
    flag(&["useradd", "usermod"], None, "-p", Place::Either, Part::Whole),
    flag(&["twine"], None, "-p", Place::Either, Part::Whole),
];

/// Words of which the one behind is secret, wherever they stand: names of settings that a `set NAME VALUE` takes.
pub(crate) const SETTINGS: &[&str] =
    &["aws_secret_access_key", "aws_session_token", "_authtoken", "_password", "_auth"];

/// Programs of which the words behind a word that is given are secret: `vault login X`.
pub(crate) const POSITIONS: &[(&str, &str)] = &[
    ("vault", "login"),
    ("cargo", "login"),
    ("vault", "unseal"),
    ("bw", "unlock"),
    ("ngrok", "authtoken"),
    ("ngrok", "add-authtoken"),
];

/// Programs that run another one, which is named behind them.
pub(crate) const WRAPPERS: &[&str] = &[
    "sudo", "doas", "env", "nohup", "time", "timeout", "nice", "ionice", "xargs", "ssh", "docker", "podman", "nerdctl",
    "kubectl", "oc", "exec", "command", "eval", "watch", "strace", "su", "setsid", "stdbuf", "chroot", "unshare",
    "nsenter", "runuser", "flock", "parallel", "busybox", "dotenv", "npx",
];

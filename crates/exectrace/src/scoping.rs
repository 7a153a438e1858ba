//! The scopes of a tracer: rows of maps that come and go, and what is known of them from outside.

use std::collections::HashSet;
use std::ffi::CStr;
use std::mem::offset_of;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use libbpf_rs::{MapCore, MapFlags};

use crate::kernel::Field;
use crate::pod::Pod;
use crate::procfs::Procfs;
use crate::scope::{Identity, Known, Scope, ScopeId};
use crate::skel::types;
use crate::tracer::{Gone, Item, Tracer, TracerError, boot_time};

/// How often to try to become known to the kernel program.
const INTRODUCTIONS: usize = 20;

impl Tracer {
    /// Traces one more scope from now on and returns its number.
    pub fn add_scope(&mut self, scope: Scope) -> Result<ScopeId, TracerError> {
        if let Some(known) = self.known_scope_for(&scope)? {
            return self.adopt(known, scope);
        }
        let id = self.free_scope_id()?;
        let identity = scope.identity();
        let value = id.get().to_ne_bytes();
        let update = |map: &dyn MapCore, key: &[u8]| {
            map.update(key, &value, MapFlags::ANY).map_err(|source| TracerError::Kernel {
                step: "adding a scope",
                source,
                log: String::new(),
            })
        };
        match &scope {
            Scope::PidNamespace(namespace) => {
                self.add_pid_namespace(namespace.number(), id)?;
            }
            Scope::Cgroup(cgroup) => update(&self.kernel.maps.cgroup_scopes, &cgroup.id.to_ne_bytes())?,
            Scope::Tree(tree) => {
                let (root, proc) = (tree.root, tree.proc.clone());
                self.add_tree(id, root, proc, scope)?;
                self.remember(id, identity);
                return Ok(id);
            }
            Scope::Children => self.introduce_ourselves()?,
            Scope::Pod(pod) => self.tell_of_pod(id, pod)?,
            Scope::Node => {}
            Scope::Pinned(_) => return Err(self.nothing_pinned()),
        }
        self.scopes.insert(id, scope);
        self.write_index();
        self.remember(id, identity);
        Ok(id)
    }

    /// A program looks for one pod only, without a map: the sidecar has no other.
    fn tell_of_pod(&self, id: ScopeId, pod: &Pod) -> Result<(), TracerError> {
        let index = self.kernel.index();
        if index.get(Field::POD) != 0 {
            return Err(TracerError::SecondPod);
        }
        index.set_u64(Field::POD_CGROUP, pod.cgroup.id);
        index.set(Field::POD_LEVEL, pod.cgroup.level);
        index.set(Field::POD_NS_LEVEL, pod.ns_level);
        self.tell_of_own_container(pod);
        // Last: from now on the programs look at the others.
        index.set(Field::POD, id.get());
        Ok(())
    }

    /// Which may be another one after each start.
    pub(crate) fn tell_of_own_container(&self, pod: &Pod) {
        let index = self.kernel.index();
        index.set_u64(Field::TRACER_CGROUP, pod.own.id);
        index.set(Field::TRACER_LEVEL, pod.own.level);
    }

    fn add_pid_namespace(&self, number: u32, id: ScopeId) -> Result<(), TracerError> {
        let mut value = [0; size_of::<types::ns_scope>()];
        let at = offset_of!(types::ns_scope, scope);
        value[at..at + 4].copy_from_slice(&id.get().to_ne_bytes());
        let map = &self.kernel.maps.pid_ns_scopes;
        map.update(&number.to_ne_bytes(), &value, MapFlags::ANY).map_err(|source| TracerError::Kernel {
            step: "adding a scope",
            source,
            log: String::new(),
        })
    }

    /// The programs know a process by its number in the initial namespace, which it cannot see from within another. So it
    /// takes a name that nobody else can know; the program at `task_rename` looks for it and notes whose it is.
    pub(crate) fn introduce_ourselves(&self) -> Result<(), TracerError> {
        let failed =
            |source: std::io::Error| TracerError::System { what: "introducing itself to the kernel program", source };
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| failed(error.into()))?;
        let mut name = [0; 16];
        let hex = format!("{:015x}", u64::from_ne_bytes(random) >> 4);
        name[..15].copy_from_slice(&hex.as_bytes()[..15]);
        let index = self.kernel.index();
        index.set(Field::OWN_TGID, 0);
        index.set_own_name(&name);
        let before = rustix::thread::name().map_err(|error| failed(error.into()))?;
        let name = CStr::from_bytes_until_nul(&name).map_err(|error| failed(std::io::Error::other(error)))?;
        // From kernel 7.0 on, the program may be skipped once or twice.
        for _ in 0..INTRODUCTIONS {
            index.set(Field::OWN_WANTED, 1);
            let introduced = rustix::thread::set_name(name);
            let restored = rustix::thread::set_name(&before);
            index.set(Field::OWN_WANTED, 0);
            introduced.and(restored).map_err(|error| failed(error.into()))?;
            if index.get(Field::OWN_TGID) != 0 {
                return Ok(());
            }
        }
        Err(failed(std::io::Error::other("the program does not run")))
    }

    /// Claims the members of a tree until no more of them turn up: what a member forks from now on follows by itself,
    /// what was forked before must be found.
    fn add_tree(
        &mut self,
        id: ScopeId,
        root: u32,
        proc: Option<PathBuf>,
        scope: Scope,
    ) -> Result<ScopeId, TracerError> {
        // A tree within this one keeps its members.
        let inner: HashSet<u32> =
            self.scopes.values().filter_map(Scope::tree_root).filter(|other| *other != root).collect();
        self.scopes.insert(id, scope);
        let mut claimed = HashSet::new();
        let mut news = vec![root];
        while !news.is_empty() {
            for pid in news {
                let value = id.get().to_ne_bytes();
                if self.kernel.maps.tree_claims.update(&pid.to_ne_bytes(), &value, MapFlags::ANY).is_err() {
                    self.remove_scope(id);
                    let processes = claimed.len() + 1;
                    return Err(TracerError::TooManyProcesses { processes, max: self.settings.max_processes });
                }
                claimed.insert(pid);
            }
            self.write_index();
            let living = proc.as_ref().map(|proc| Procfs::new(proc).descendants(root, &inner)).unwrap_or_default();
            news = living.into_iter().filter(|pid| !claimed.contains(pid)).collect();
        }
        Ok(id)
    }

    /// Stops tracing a scope. What was sent before still comes.
    pub fn remove_scope(&mut self, id: ScopeId) {
        let Some(scope) = self.scopes.remove(&id) else { return };
        self.kernel.set_identity(id, Identity::NOBODY);
        // A scope that names the same namespace or cgroup takes the row over, the last one first.
        let heir = self.scopes.iter().rev().find(|(_, other)| other.is_same_as(&scope)).map(|(id, _)| *id);
        let maps = &self.kernel.maps;
        let release = |map: &dyn MapCore, key: &[u8]| match heir {
            Some(heir) => map.update(key, &heir.get().to_ne_bytes(), MapFlags::ANY),
            None => map.delete(key),
        };
        let released = match &scope {
            Scope::PidNamespace(namespace) => match heir {
                Some(heir) => {
                    return self.add_pid_namespace(namespace.number(), heir).map_or((), |()| self.write_index());
                }
                None => maps.pid_ns_scopes.delete(&namespace.number().to_ne_bytes()),
            },
            Scope::Cgroup(cgroup) => release(&maps.cgroup_scopes, &cgroup.id.to_ne_bytes()),
            Scope::Tree(_) => self.disband_tree(id),
            Scope::Pod(_) => {
                self.kernel.index().set(Field::POD, 0);
                Ok(())
            }
            Scope::Node | Scope::Children | Scope::Pinned(_) => Ok(()),
        };
        // What can fail here is a row that is not there, which is what is wanted.
        drop(released);
        self.write_index();
    }

    /// Takes the members' rows away. A member that forks meanwhile passes the tree on, so this goes on until none is left.
    fn disband_tree(&self, id: ScopeId) -> libbpf_rs::Result<()> {
        let maps = &self.kernel.maps;
        let tree_at = offset_of!(types::process, tree);
        loop {
            let claims = rows_of(&maps.tree_claims, 0, id)?;
            let members = rows_of(&maps.processes, tree_at, id)?;
            if claims.is_empty() && members.is_empty() {
                return Ok(());
            }
            let delete = |map: &dyn MapCore, keys: &[Vec<u8>]| {
                // A row that is gone already is what is wanted.
                keys.iter().for_each(|key| drop(map.delete(key)));
            };
            delete(&maps.tree_claims, &claims);
            delete(&maps.processes, &members);
        }
    }

    fn free_scope_id(&mut self) -> Result<ScopeId, TracerError> {
        let max = self.settings.max_scopes;
        // A number is used once, so that the stats of one scope never become another's.
        let id = ScopeId::new(self.next_scope).filter(|id| id.get() <= max).ok_or(TracerError::TooManyScopes(max))?;
        self.next_scope += 1;
        Ok(id)
    }

    fn write_index(&mut self) {
        let count = |kind: fn(&Scope) -> bool| {
            u32::try_from(self.scopes.values().filter(|scope| kind(scope)).count()).unwrap_or(u32::MAX)
        };
        let claims = u32::try_from(self.kernel.maps.tree_claims.keys().count()).unwrap_or(u32::MAX);
        let all = self.scopes.iter().find(|(_, scope)| matches!(scope, Scope::Node)).map_or(0, |(id, _)| id.get());
        let pid_namespaces = count(|scope| matches!(scope, Scope::PidNamespace(_)));
        let trees = count(|scope| matches!(scope, Scope::Tree(_)));
        let cgroup_levels = self.scopes.values().fold(0, |levels, scope| match scope {
            Scope::Cgroup(cgroup) => levels | cgroup.level.map_or(u64::MAX, |level| 1 << level.min(63)),
            _ => levels,
        });
        let own = self.scopes.iter().find(|(_, scope)| matches!(scope, Scope::Children)).map_or(0, |(id, _)| id.get());
        let index = self.kernel.index();
        // What a scope is that was taken over without a name shows in the index alone: nothing there may go down.
        let is_known = !self.scopes.values().any(|scope| matches!(scope, Scope::Pinned(_)));
        let set = |field, value| index.set(field, if is_known { value } else { value.max(index.get(field)) });
        index.set(Field::CLAIMS, claims);
        set(Field::TREES, trees);
        set(Field::PID_NAMESPACES, pid_namespaces);
        set(Field::ALL, all);
        let levels = if is_known { 0 } else { index.get_u64(Field::CGROUP_LEVELS) };
        index.set_u64(Field::CGROUP_LEVELS, cgroup_levels | levels);
        index.set(Field::OWN, own);
        // Neighbours that share the ring; what proves that the tracer sees takes next to nothing of it.
        index.set(Field::SCOPES, count(|scope| !matches!(scope, Scope::Children)));
        // Last: whose an exec is that has begun must be found out anew.
        index.set(Field::CHANGES, index.get(Field::CHANGES).wrapping_add(1));
    }

    /// Tells each scope that is no more, once.
    pub(crate) fn tell_gone(&mut self, on_item: &mut impl FnMut(Item)) -> Result<(), TracerError> {
        for (scope, what) in &self.scopes {
            if self.gone.contains(scope) {
                continue;
            }
            let time = match what {
                Scope::Cgroup(cgroup) => cgroup.is_gone().then(SystemTime::now),
                Scope::PidNamespace(namespace) => self.namespace_ended(namespace.number())?,
                Scope::Pinned(Known::Cgroup(_)) => Some(SystemTime::now()),
                Scope::Pinned(_) => match self.kernel.identity(*scope).pid_namespace() {
                    Some(number) => self.namespace_ended(number)?,
                    None => None,
                },
                Scope::Tree(_) | Scope::Pod(_) | Scope::Node | Scope::Children => None,
            };
            if let Some(time) = time {
                self.gone.insert(*scope);
                on_item(Item::Gone(Gone { scope: *scope, time }));
            }
        }
        Ok(())
    }

    /// When the init of a namespace ended that is a scope.
    fn namespace_ended(&self, number: u32) -> Result<Option<SystemTime>, TracerError> {
        let row = self
            .kernel
            .maps
            .pid_ns_scopes
            .lookup(&number.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| TracerError::Kernel { step: "looking at a scope", source, log: String::new() })?;
        let at = offset_of!(types::ns_scope, ended);
        let ended = row.and_then(|row| Some(u64::from_ne_bytes(row.get(at..at + 8)?.try_into().ok()?)));
        Ok(ended.filter(|ended| *ended > 0).map(|ended| boot_time() + Duration::from_nanos(ended)))
    }
}

/// Keys of the rows whose value holds the scope's number at an offset.
fn rows_of(map: &dyn MapCore, offset: usize, id: ScopeId) -> libbpf_rs::Result<Vec<Vec<u8>>> {
    let number = id.get().to_ne_bytes();
    let mut found = Vec::new();
    for key in map.keys() {
        let value = map.lookup(&key, MapFlags::ANY)?;
        if value.is_some_and(|value| value.get(offset..).is_some_and(|rest| rest.starts_with(&number))) {
            found.push(key);
        }
    }
    Ok(found)
}

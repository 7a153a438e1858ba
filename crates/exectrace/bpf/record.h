/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The wire between the kernel program and user space: what lies in the ring
 * buffer and in the maps that both sides touch. This is the only file that
 * both languages read; build.rs generates the Rust types from it.
 *
 * Every record starts with a record_head. An exec is one exec_record; what its
 * arguments need beyond the first ARGS_FIRST bytes follows in args_records of
 * the same CPU and hook, in order and with nothing of that CPU and hook in
 * between. An attempt that failed is an exec_record too, with all that could be
 * read of its arguments; the end of a process is an exit_record. Integers are in
 * host order. Every struct is padded by hand, so that
 * nothing of the kernel's leaks through a hole and no tail moves.
 */
#ifndef EXECTRACE_RECORD_H
#define EXECTRACE_RECORD_H

#define COMM_LEN 16 /* TASK_COMM_LEN */
#define TTY_LEN	 64 /* sizeof(tty_struct.name) */
#define PATH_LEN 4096 /* PATH_MAX, with the NUL */

/* Room for what a script's interpreter is called: the first line of a script
 * holds 255 bytes, a line written to binfmt_misc's register 1,920. */
#define INTERP_LEN 2048

/* What a folder of cgroups can be called, NAME_MAX with the NUL. */
#define CGROUP_NAME_LEN 256
/* Cgroups above a process, its own included, that are told. */
#define CGROUPS_ABOVE 64

/* Argument bytes in the exec_record itself and in each args_record. A per-CPU
 * map value, where records are made, holds at most 32,768 bytes in all. */
#define ARGS_FIRST 16128
#define ARGS_NEXT  32448

/* Argument bytes of an exec that are kept when its scope has taken up much of the
 * ring: most command lines are whole in them. */
#define ARGS_TIGHT 256

/* Rules by which execs are left out or kept: bits of a number. */
#define MAX_RULES 64

/* Bytes of an executable's path that a rule can look at (the most that an LPM
 * trie takes as a key). */
#define RULE_PATH_LEN 256

/* Markers that are looked for in environments, and programs in whose. */
#define MAX_ENV_MARKERS	 64
#define MAX_ENV_PROGRAMS 32

/* Bytes of a string of an environment that are compared, and of a program's name. */
#define MARKER_LEN  64
#define PROGRAM_LEN 16

/* Goes up with every change of what the records say. */
enum record_version {
	RECORD_VERSION = 4,
};

enum record_kind {
	RECORD_EXEC = 1,
	RECORD_ARGS = 2,
	RECORD_FAILED = 3,
	RECORD_EXIT = 4,
};

/* Which program wrote the record. Each has scratch, counters and sequence
 * numbers of its own, because one can interrupt the other on the same CPU. */
enum hook {
	HOOK_EXEC = 0, /* sched_process_exec */
	HOOK_BACKUP = 1, /* its second program, for kernels that skip the first */
	HOOK_FAILED = 2, /* the end of a system call that was to exec */
	HOOK_EXIT = 3, /* sched_process_exit */
	HOOK_COUNT = 4,
	HOOK_EXEC_RECORDS = 3, /* how many of them make exec_records */
};

enum exec_flag {
	/* what the exec is */
	EXEC_SCRIPT = 1 << 0, /* interp differs from filename */
	EXEC_MEMFD = 1 << 1, /* the file lives in a memfd */
	EXEC_DELETED = 1 << 2, /* the file has no name any more */
	EXEC_SETUID = 1 << 3, /* a set-user-ID or set-group-ID bit took effect */
	EXEC_THREAD = 1 << 4, /* called by a thread that was not the leader */
	EXEC_ARGV0_KEPT = 1 << 5, /* binfmt_misc with flag P: argv[0] follows the path */
	EXEC_NESTED = 1 << 6, /* in a container within a container of the pod */

	/* what could not be read, or not wholly */
	EXEC_FILENAME_FAULT = 1 << 8,
	EXEC_FILENAME_CUT = 1 << 9,
	EXEC_INTERP_FAULT = 1 << 10,
	EXEC_INTERP_CUT = 1 << 11,
	EXEC_EXE_FAULT = 1 << 12,
	EXEC_EXE_CUT = 1 << 13,
	EXEC_EXE_OUTSIDE = 1 << 14, /* not below the process's root */
	EXEC_CWD_FAULT = 1 << 15,
	EXEC_CWD_CUT = 1 << 16,
	EXEC_CWD_OUTSIDE = 1 << 17,
	EXEC_COMM_UNKNOWN = 1 << 18,
	EXEC_ARGS_FAULT = 1 << 19, /* here or, in an args_record, there */
	EXEC_ARGS_LIMITED = 1 << 20, /* more than settings.args_limit */
	EXEC_PARENT_UNKNOWN = 1 << 21, /* a row of the process table is missing */
	EXEC_ARGS_TIGHT = 1 << 22, /* cut, because the ring is tight */
	EXEC_STRINGS_TIGHT = 1 << 23, /* no strings at all, for the same reason */
	EXEC_ENV_FAULT = 1 << 24, /* the environment, in which a marker was looked for */
	EXEC_ENV_LIMITED = 1 << 25, /* it has more strings than are looked at */
};

struct record_head {
	enum record_version version;
	enum record_kind kind;
	enum hook hook;
	enum exec_flag flags;
	__u32 cpu;
	__u32 scope;
	__u64 seq; /* counts the records of this scope, hook and CPU, lost ones too */
	__u32 args_offset; /* of the first argument byte in this record */
	__u32 args_len; /* argument bytes in this record */
};

/* One image of one process: unique on a node until it reboots. A thread group
 * keeps its leader's start across an exec, also across one by a thread. */
struct image {
	__u64 start; /* group_leader->start_boottime, ns */
	__u32 tgid;
	__u32 exec; /* self_exec_id, 0: no image */
};

struct exec_record {
	struct record_head head;
	__u64 time; /* CLOCK_BOOTTIME, ns, when the program ran */
	struct image image;
	struct image parent; /* the last image that was logged up the line */
	__u64 cgroup; /* id in the unified hierarchy */
	__u64 exe_inode;
	__u32 exe_device; /* dev_t as the kernel packs it: major << 20 | minor */
	__u32 exe_mode;
	__u32 vpid; /* in the namespace of the scope, or its own */
	__u32 ppid;
	__u32 sid;
	__u32 old_tid; /* of the thread that called exec */
	__u32 uid;
	__u32 gid;
	__u32 euid;
	__u32 egid;
	__u32 loginuid; /* 2^32-1: not set */
	__u32 audit_session; /* 2^32-1: not set */
	__u32 pid_ns;
	__u32 mnt_ns;
	__u32 ns_level; /* 0 for the initial PID namespace */
	__u32 argc;
	__u32 args_total; /* bytes in [arg_start, arg_end) */
	__u32 args_wanted; /* of these, what the records hold if none is lost */
	char comm[COMM_LEN]; /* of the caller, before the exec */
	__u32 error; /* errno of an attempt that failed, 0 for an exec */
	__u32 filename_len; /* lengths of what follows, in this order, no NULs */
	__u32 interp_len;
	__u32 exe_len;
	__u32 cwd_len;
	__u32 tty_len;
	__u32 container_len; /* name of the cgroup of the pod's container */
	__u32 env_marker; /* 1 + number of the marker of the process or an ancestor, 0: none */
};

/* The end of a process whose own image was logged. */
struct exit_record {
	struct record_head head;
	__u64 time; /* CLOCK_BOOTTIME, ns */
	struct image image;
	__u64 lived; /* ns since the exec of the image */
	__u64 cpu_time; /* ns, of all threads and all images of the process */
	__u64 max_rss; /* pages, of all images of the process */
	__u32 status; /* as wait(2) gives it */
	__u32 uid;
	char comm[COMM_LEN];
};

/* What happened to what one scope did at one hook on one CPU:
 * seen = sent + excluded_rule + excluded_errno + lost_ring_full + lost_busy. */
struct scope_stats {
	__u64 cpu; /* that these are of */
	__u64 seq; /* records made, sent or lost */
	__u64 sent;
	__u64 excluded_rule; /* left out by a rule; left_out has by which */
	__u64 excluded_errno; /* attempts that failed in a way that nobody wants to know of */
	__u64 lost_ring_full; /* of which nothing was sent, for want of room */
	__u64 lost_busy; /* attempts that failed while another one was being recorded on that CPU */
	__u64 args_ring_full; /* execs whose arguments were cut for want of room */
	__u64 strings_ring_full; /* of these, execs of which no string was sent */
	__u64 args_fault;
	__u64 process_table_full;
	__u64 missed; /* execs that no program saw, found out by the next event of the process */
	__u64 seen; /* last: who copies them meanwhile finds it no smaller than its parts */
};

/* How much of the ring a scope takes up: bytes that its records took, and of
 * these, what was read since. And what the scope is, for a tracer that takes over. */
struct scope_budget {
	__u64 sent; /* by the programs */
	__u64 freed; /* by the reader */
	__u64 kind; /* this and the next by the tracer; the programs do not look at them */
	__u64 key;
	__u64 name; /* a hash of what it was called */
};

/* A process of interest: one that was logged or belongs to a tree, or whose
 * parent did when it forked. */
struct process {
	__u64 start; /* tells the process from another with its pid */
	struct image logged; /* its last logged image, or that of an ancestor */
	__u64 logged_at; /* CLOCK_BOOTTIME, ns, if logged is its own */
	__u32 scope; /* of its own logged image */
	__u32 tree; /* scope of the process tree, 0: none */
	__u32 seen_exec; /* self_exec_id as far as execs are accounted for */
	__u32 comm_exec; /* self_exec_id of the exec that comm came before */
	__u32 orphan; /* 1: made late, so that logged may lack an ancestor */
	__u32 env_marker; /* as in exec_record */
	char comm[COMM_LEN];
};

/* A PID namespace that is a scope. Its number passes to another namespace once it
 * is free; its init's start does not. */
struct ns_scope {
	__u64 init_start; /* ns since boot; 0: not known before the first look */
	__u64 ended; /* ns since boot: when its init ended, which takes all others with it */
	__u32 scope;
	__u32 pad;
};

/* A cgroup of the unified hierarchy. */
struct named_cgroup {
	__u64 id;
	char name[CGROUP_NAME_LEN];
};

/* Where the process that asks is: written by own_place of pod.bpf.c, read by the tracer. */
struct own_place {
	__u32 levels; /* how many cgroups were found */
	__u32 complete; /* 1: the last of them is the hierarchy's root */
	__u32 ns_level; /* of its PID namespace, 0: the initial one */
	__u32 pad;
	struct named_cgroup cgroups[CGROUPS_ABOVE]; /* the process's own first */
};

/* Failed attempts to record; in settings. */
enum failed {
	FAILED_NONE = 0,
	FAILED_NOTABLE = 1, /* all but files that are not there */
	FAILED_ALL = 2,
};

/* What one rule left out, in all scopes. */
struct left_out {
	__u64 execs;
	__u64 failed; /* attempts that failed */
};

struct path_key {
	__u32 bits; /* of path that count */
	char path[RULE_PATH_LEN];
};

struct env_key {
	__u32 bits; /* of text that count */
	char text[MARKER_LEN];
};

/* The last component of a path, and zeros. */
struct program_name {
	char bytes[PROGRAM_LEN];
};

#define SAME_SIZE(type, last)                                                                      \
	_Static_assert(sizeof(type) == __builtin_offsetof(type, last) + sizeof(((type *)0)->last), \
		       #type " has a hole at its end")
SAME_SIZE(struct record_head, args_len);
SAME_SIZE(struct exec_record, env_marker);
SAME_SIZE(struct exit_record, comm);
SAME_SIZE(struct process, comm);
SAME_SIZE(struct ns_scope, pad);

#endif

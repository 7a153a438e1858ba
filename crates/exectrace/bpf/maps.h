/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Everything that outlives one run of a program: settings, scopes, scratch
 * space, counters and the ring. Each says who writes it, who reads it and why.
 * Sizes of 1 are placeholders: the tracer sets the real ones before it loads.
 */
#ifndef EXECTRACE_MAPS_H
#define EXECTRACE_MAPS_H

/* Written by the tracer before the load, constant from then on, so that the
 * verifier drops the code of what is switched off. */
const volatile struct settings {
	__u32 args_limit; /* argument bytes of one exec to copy at most */
	__u32 wakeup_bytes; /* the reader is woken at each multiple of so many unread bytes; 0: at
			       each record */
	__u32 ring_bytes; /* size of the ring */
	__u32 exits; /* 1: the end of a process makes a record */
	enum failed failed; /* which attempts make a record */
	__u32 env_markers; /* how many are looked for in environments; 0: none is looked at */
	__u32 env_first[8]; /* bit n of all: some marker begins with byte n */
	__u32 casts; /* 1: the kernel has bpf_rdonly_cast, and bpf_get_current_ancestor_cgroup_id
			for tracing */
	struct type_ids {
		__u32 task_struct, linux_binprm, pid, pid_namespace;
		__u32 cgroup, dentry, vfsmount, mount;
	} types; /* numbers in the kernel's type information; needed for casts only */
} settings = { .args_limit = 1 };

/* Which kinds of scope and of rules there are, so that an exec that is
 * nobody's pays for no look-up that cannot hit. Written by the tracer when
 * scopes come and go, read by every program. */
volatile struct scope_index {
	__u64 cgroup_levels; /* bit n: some scope is a cgroup n levels below the root */
	__u64 own_start; /* of the tracer, ns since boot: tells it from a later process */
	__u64 child_start; /* the same of the child that it forked last */
	__u32 pid_namespaces; /* how many scopes are PID namespaces */
	__u32 all; /* number of the scope that is the whole node, 0: none */
	__u32 trees; /* how many scopes are process trees */
	__u32 claims; /* rows of tree_claims; the programs count it down */
	__u32 claim_pid_ns; /* in which the claimed pids are told */
	__u32 scopes; /* how many there are */
	__u32 own; /* number of the scope that is the tracer's last child, 0: none */
	__u32 own_tgid; /* of the tracer; found out by the name that it gives itself */
	__u32 child_tgid; /* written by process_fork; orphans that it inherits are others' */
	__u32 own_wanted; /* 1: it is about to do so */
	__u32 detached; /* 1: nobody looks any more, although the kernel may not be done detaching
			 */
	__u32 forks_missed; /* 1: some fork left no row, for want of room or skipped; the programs
			       set it too */
	__u32 changes; /* goes up when scopes have come or gone */
	__u32 pod; /* number of the scope that is a pod, 0: none */
	__u32 pod_level; /* of its cgroup */
	__u32 pod_ns_level; /* of its containers' PID namespaces; 0: they have none of their own */
	__u32 tracer_level; /* of the cgroup of the tracer's own container in the pod */
	__u64 pod_cgroup; /* id */
	__u64 tracer_cgroup; /* id */
	__u64 rules_out; /* bit n: rule n leaves execs out; see rules.h */
	__u64 rules_keep; /* it keeps execs, whatever others say */
	__u64 rules_any_uid; /* it asks for no user */
	__u64 rules_any_path; /* it asks for no path */
	__u64 rules_tty; /* it holds where there is a controlling terminal */
	__u64 rules_no_tty; /* it holds where there is none */
	char own_name[COMM_LEN];
} scope_index;

/* PID namespace number -> scope. Written by the tracer; the programs add when its
 * init started, if the tracer could not see that, and when it ended. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ns_scope);
} pid_ns_scopes SEC(".maps");

/* cgroup id -> scope. Written by the tracer. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u32);
} cgroup_scopes SEC(".maps");

/* Whose a task is. */
struct place {
	__u32 scope; /* 0: nobody's */
	__u32 level; /* of the PID namespace in which vpid is told */
	__u32 tree; /* the scope, if it is a process tree */
	__u32 nested; /* 1: in a container within one of the pod's */
	__u64 cgroup;
};

/* What was found at the beginning of the exec that began last on this CPU, so that
 * its end need not search again. Written by caller_comm, read by the exec programs. */
struct kept_place {
	struct image of; /* the image that the exec is to make */
	struct place place;
	__u32 changes; /* of scope_index, before the search */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kept_place);
} kept_place SEC(".maps");

/* tgid -> process of interest. Rows come from a claim of the tracer's, from an
 * exec that was logged and from a fork of a process that has a row; they go
 * when the process ends. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct process);
} processes SEC(".maps");

/* Pid in the tracer's own PID namespace -> scope: a member of a process tree
 * that the kernel has yet to meet, since only it knows the pid in the initial
 * namespace and the exact start. Written by the tracer; the first fork, exec or
 * exit of the process turns it into a row of processes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tree_claims SEC(".maps");

/* Real uid -> the rules that ask for it. Written by the tracer before the programs
 * run, read by them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_RULES);
	__type(key, __u32);
	__type(value, __u64);
} rules_of_uid SEC(".maps");

/* The same by what the path of the file that runs begins with, its closing NUL
 * included. Only the longest such row is found, so each has the rules of the shorter
 * ones too. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_RULES);
	__type(key, struct path_key);
	__type(value, __u64);
} rules_of_path SEC(".maps");

/* Rule -> what was counted and not sent because of it. Written by the programs, read
 * by the tracer. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_RULES);
	__type(key, __u32);
	__type(value, struct left_out);
} left_out SEC(".maps");

/* What a string of the environment begins with -> 1 + number of a marker. Written by
 * the tracer before the programs run, read by them. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_ENV_MARKERS);
	__type(key, struct env_key);
	__type(value, __u32);
} env_markers SEC(".maps");

/* Names of executables whose environment is looked at. Written and read as above. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENV_PROGRAMS);
	__type(key, struct program_name);
	__type(value, __u32);
} env_programs SEC(".maps");

/* scope * HOOK_COUNT + hook -> what happened to its execs. Written by the
 * programs, summed by the tracer. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scope_stats);
} stats SEC(".maps");

/* scope -> its share of the ring. The programs count what they send, the tracer
 * what it has done with; both in memory that they share. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scope_budget);
} budgets SEC(".maps");

/* How far the log has been written, for a tracer that takes over after this one
 * was killed. The programs never look at it; it lies here to outlive a process. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} journal SEC(".maps");

/* What the programs have to say. Written by them, read by the tracer. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

/* One component after another of a path, put in front of what is there. */
struct path_scratch {
	struct dentry *dentry;
	struct vfsmount *mount;
	struct dentry *root_dentry;
	struct vfsmount *root_mount;
	struct dentry *mount_root;
	__u32 start; /* of the path in bytes, which ends at PATH_LEN */
	__u32 state; /* enum walk */
	/* What lies behind the path is 0. The slack lets the verifier see a bound. */
	char bytes[PATH_LEN + RULE_PATH_LEN];
};

/* A record in the making; too large for the stack. */
struct exec_scratch {
	struct exec_record record;
	char tail[PATH_LEN + INTERP_LEN + 2 * PATH_LEN + TTY_LEN + CGROUP_NAME_LEN + ARGS_FIRST];
	__u64 args; /* where in the image's memory they begin */
	__u64 busy; /* 1: an attempt that failed is being recorded here */
};

/* hook -> scratch, private to one program on one CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_EXEC_RECORDS);
	__type(key, __u32);
	__type(value, struct exec_scratch);
} exec_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_EXEC_RECORDS);
	__type(key, __u32);
	__type(value, struct path_scratch);
} path_scratch SEC(".maps");

struct args_scratch {
	struct record_head head;
	char bytes[ARGS_NEXT];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_EXEC_RECORDS);
	__type(key, __u32);
	__type(value, struct args_scratch);
} args_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_EXEC_RECORDS);
	__type(key, __u32);
	__type(value, struct path_key);
} path_key_scratch SEC(".maps");

/* How far an environment has been looked at, and what was found. */
struct env_scratch {
	__u64 at; /* the next string of the new image */
	__u64 end;
	__u32 inside; /* 1: the rest of a string that was looked at */
	__u32 marker; /* 1 + number of the one that was found */
	__u32 flags; /* for the record */
	struct env_key key;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_EXEC_RECORDS);
	__type(key, __u32);
	__type(value, struct env_scratch);
} env_scratch SEC(".maps");

/* tgid -> the last exec that the first program saw and found no row for, so that
 * the second one knows it, on whatever CPU it runs. Written by the one, read by the
 * other. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct image);
} seen_without_row SEC(".maps");

/* Of process_exit alone. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exit_record);
} exit_scratch SEC(".maps");

#endif

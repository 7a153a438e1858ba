/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The kernel's types, as far as we read them. CO-RE finds each field by name in
 * the running kernel's BTF when the program is loaded, so order and offsets
 * here mean nothing, and one object serves every kernel and architecture.
 */
#ifndef EXECTRACE_KERNEL_H
#define EXECTRACE_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef int pid_t;
typedef _Bool bool;

#define NULL ((void *)0)
#define false 0
#define true 1

/* Numbers of the kernel's ABI (uapi/linux/bpf.h). */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum {
	BPF_ANY = 0,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_MMAPABLE = 1 << 10,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
};

/* include/linux/pid_types.h */
#define PIDTYPE_SID	 3
#define MAX_PID_NS_LEVEL 32
/* include/linux/binfmts.h, in interp_flags from 5.12 on */
#define BINPRM_FLAGS_PRESERVE_ARGV0 (1 << 3)
/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004
/* include/uapi/linux/stat.h */
#define S_ISUID 0004000
#define S_ISGID 0002000
/* include/uapi/linux/magic.h */
#define TMPFS_MAGIC	0x01021994
#define HUGETLBFS_MAGIC 0x958458f6

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct task_struct;

struct pid_namespace {
	struct ns_common ns;
	struct task_struct *child_reaper;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[0];
};

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct cred {
	kuid_t uid, euid;
	kgid_t gid, egid;
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root, pwd;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	unsigned int i_nlink;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct tty_struct {
	char name[64];
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
	struct pid *pids[4];
	struct tty_struct *tty;
	unsigned int flags;
	int group_exit_code;
	unsigned long long sum_sched_runtime;
	unsigned long maxrss;
};

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct kernfs_node {
	__u64 id;
	const char *name;
	struct kernfs_node *__parent; /* from 6.15 on */
};

struct kernfs_node___before {
	struct kernfs_node *parent; /* up to 6.14 */
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[0]; /* from 6.1 on, itself last */
};

struct cgroup___ids {
	__u64 ancestor_ids[0]; /* up to 6.0, itself last */
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	pid_t pid, tgid;
	__u64 start_boottime;
	__u64 self_exec_id;
	int exit_code;
	struct sched_entity se;
	char comm[16];
	struct task_struct *real_parent, *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct fs_struct *fs;
	struct mm_struct *mm;
	kuid_t loginuid;
	unsigned int sessionid;
};

struct linux_binprm {
	struct file *file;
	const char *filename;
	const char *interp;
	unsigned int interp_flags;
	unsigned int per_clear;
	int argc;
};

struct syscall_trace_exit {
	long ret;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long bx, cx, dx, si, di, r8;
};
#define SYSCALL_PREFIX	   "__x64_sys_"
#define COMPAT_PREFIX	   "__ia32_compat_sys_"
#define ARG_1(regs)	   ((regs)->di)
#define ARG_2(regs)	   ((regs)->si)
#define ARG_3(regs)	   ((regs)->dx)
#define ARG_5(regs)	   ((regs)->r8)
#define COMPAT_ARG_1(regs) ((__u32)(regs)->bx)
#define COMPAT_ARG_2(regs) ((__u32)(regs)->cx)
#define COMPAT_ARG_3(regs) ((__u32)(regs)->dx)
#define COMPAT_ARG_5(regs) ((__u32)(regs)->di)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0; /* the first argument; the result takes its place in regs */
};
#define SYSCALL_PREFIX	   "__arm64_sys_"
#define COMPAT_PREFIX	   "__arm64_compat_sys_"
#define ARG_1(arch_regs)   ((arch_regs)->orig_x0)
#define ARG_2(arch_regs)   ((arch_regs)->regs[1])
#define ARG_3(arch_regs)   ((arch_regs)->regs[2])
#define ARG_5(arch_regs)   ((arch_regs)->regs[4])
#define COMPAT_ARG_1(regs) ((__u32)ARG_1(regs))
#define COMPAT_ARG_2(regs) ((__u32)ARG_2(regs))
#define COMPAT_ARG_3(regs) ((__u32)ARG_3(regs))
#define COMPAT_ARG_5(regs) ((__u32)ARG_5(regs))
#else
#error "system calls' arguments are not known on this architecture"
#endif

#pragma clang attribute pop

#endif

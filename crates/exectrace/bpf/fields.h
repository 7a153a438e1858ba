/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Parts of an exec_record: numbers of the process and the file, and strings, one
 * after the other in the tail.
 */
#ifndef EXECTRACE_FIELDS_H
#define EXECTRACE_FIELDS_H

static __always_inline void copy_ids(struct exec_record *record, struct task_struct *task,
				     const struct place *place)
{
	struct pid *pid = task->thread_pid, *session;
	const struct cred *cred = task->cred;
	struct upid upid = {};

	record->ns_level = pid->level;
	read_upid(&upid, pid, record->ns_level);
	record->pid_ns = FOLLOW(upid.ns, ns.inum);
	if (place->level != record->ns_level)
		read_upid(&upid, pid, place->level);
	record->vpid = upid.nr;
	record->mnt_ns = task->nsproxy->mnt_ns->ns.inum;
	record->ppid = task->real_parent->tgid;
	record->sid = 0;
	session = task->signal->pids[PIDTYPE_SID];
	if (session)
		record->sid = session->numbers[0].nr;
	record->uid = cred->uid.val;
	record->gid = cred->gid.val;
	record->euid = cred->euid.val;
	record->egid = cred->egid.val;
	record->loginuid = -1;
	record->audit_session = -1;
	if (bpf_core_field_exists(task->loginuid)) {
		record->loginuid = task->loginuid.val;
		record->audit_session = task->sessionid;
	}
}

static __always_inline void copy_file(struct exec_record *record, struct linux_binprm *bprm)
{
	struct inode *inode = bprm->file->f_inode;
	__u32 mode = inode->i_mode;

	record->exe_inode = inode->i_ino;
	record->exe_device = inode->i_sb->s_dev;
	record->exe_mode = mode;
	if (inode->i_nlink == 0)
		record->head.flags |= EXEC_DELETED;
	/* per_clear says that the kernel honoured the bits: neither nosuid nor
	 * no_new_privs stood in the way. */
	if (mode & (S_ISUID | S_ISGID) && bprm->per_clear)
		record->head.flags |= EXEC_SETUID;
}

/* Where in the tail a string may begin at most; all offsets are held below it. */
#define TAIL_STRINGS (3 * PATH_LEN + INTERP_LEN)

/* Appends a string of the kernel's to the tail, without its NUL. */
static __always_inline __u32 append_string(struct exec_scratch *scratch, __u64 tail, __u32 size,
					   const char *string, __u32 fault, __u32 cut)
{
	long len;

	AT_MOST(tail, TAIL_STRINGS);
	len = bpf_probe_read_kernel_str(&scratch->tail[tail], size, string);
	if (len <= 0) {
		scratch->record.head.flags |= fault;
		return 0;
	}
	if (len == size)
		scratch->record.head.flags |= cut;
	return len - 1;
}

/* Appends the path that was walked; the flags come in the order of enum exec_flag. */
static __always_inline __u32 append_path(struct exec_scratch *scratch, __u64 tail,
					 struct path_scratch *path, __u32 fault, __u32 cut,
					 __u32 outside)
{
	__u32 state = path->state;
	__u64 start = *(volatile __u32 *)&path->start, len;

	if (state == WALK_FAULT)
		scratch->record.head.flags |= fault;
	if (state == WALK_CUT)
		scratch->record.head.flags |= cut;
	if (state == WALK_OUTSIDE)
		scratch->record.head.flags |= outside;
	AT_MOST(start, PATH_LEN);
	len = PATH_LEN - start;
	AT_MOST(len, PATH_LEN);
	AT_MOST(tail, TAIL_STRINGS);
	if (bpf_probe_read_kernel(&scratch->tail[tail], len, &path->bytes[start])) {
		scratch->record.head.flags |= fault;
		return 0;
	}
	return len;
}

/* A file that no directory holds, on the kernel's own tmpfs or hugetlbfs, with
 * the name that memfd_create(2) gives; users cannot make one in another way. */
static __always_inline bool is_memfd(const struct path_scratch *path, struct inode *inode)
{
	const char memfd[] = "/memfd:";
	unsigned long magic = inode->i_sb->s_magic;
	__u64 start = *(volatile __u32 *)&path->start;

	if (path->state != WALK_NO_MOUNT || (magic != TMPFS_MAGIC && magic != HUGETLBFS_MAGIC))
		return false;
	AT_MOST(start, PATH_LEN);
	for (__u32 i = 0; i < sizeof(memfd) - 1; i++)
		if (path->bytes[start + i] != memfd[i])
			return false;
	return true;
}

/* Appends the terminal's name, if there is one. */
static __always_inline __u32 append_tty(struct exec_scratch *scratch, __u64 tail,
					struct task_struct *task)
{
	struct tty_struct *tty = task->signal->tty;

	return tty ? append_string(scratch, tail, TTY_LEN, tty->name, 0, 0) : 0;
}

/* Appends the name of the cgroup of the pod's container, if the scope is a pod. */
static __always_inline __u32 append_container(struct exec_scratch *scratch, __u64 tail,
					      const struct place *place)
{
	const char *name;
	long len;

	if (!scope_index.pod || place->scope != scope_index.pod)
		return 0;
	name = (const char *)container_of_task();
	if (!name)
		return 0;
	AT_MOST(tail, TAIL_STRINGS + TTY_LEN);
	len = bpf_probe_read_kernel_str(&scratch->tail[tail], CGROUP_NAME_LEN, name);
	return len > 0 ? len - 1 : 0;
}

#endif

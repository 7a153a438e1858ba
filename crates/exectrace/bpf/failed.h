/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Attempts to exec that failed. They are looked at where the system call ends:
 * the memory is still the caller's, and what it named has been read by the
 * kernel meanwhile, so it is resident. But nothing keeps another thread of the
 * caller from changing it, so it is the caller's claim and no more.
 */
#ifndef EXECTRACE_FAILED_H
#define EXECTRACE_FAILED_H

/* Arguments, and bytes of each with its NUL, that are read at most. */
#define CLAIMS	  128
#define CLAIM_LEN 4096

/* uapi/asm-generic/errno-base.h; from MAX_ERRNO of linux/err.h up are no errors for
 * user space but calls that the kernel begins again. */
#define ENOENT	    2
#define ERESTARTSYS 512

/* uapi/linux/fcntl.h, from 6.14 on: asks whether an exec would be allowed. */
#define AT_EXECVE_CHECK 0x10000

/* What the system call was given: pointers of the caller's. */
struct claim {
	__u64 filename;
	__u64 argv;
	__u32 compat; /* 1: argv has pointers of four bytes */
	__u32 flags;
};

/*
 * Reads the argument vector at argv into the args_scratch of HOOK_FAILED: as many
 * strings as fit an exec_record, one after the other. Not static and with numbers
 * for arguments, so that the verifier checks it once by itself.
 */
__noinline int read_claims(__u64 argv, __u32 compat)
{
	__u32 row = HOOK_FAILED;
	struct args_scratch *args = bpf_map_lookup_elem(&args_scratch, &row);
	volatile __u32 *len;

	if (!args)
		return 0;
	len = &args->head.args_len;
	*len = 0;
	args->head.flags = 0;
	args->head.args_offset = 0;
	for (__u32 i = 0; i < CLAIMS; i++) {
		__u64 at = *len, string = 0, from = argv + i * (compat ? 4 : 8);
		long got;

		if (bpf_probe_read_user(&string, compat ? 4 : 8, (void *)from)) {
			args->head.flags |= EXEC_ARGS_FAULT;
			return 0;
		}
		if (!string)
			return 0;
		if (at > ARGS_FIRST - CLAIM_LEN)
			break;
		AT_MOST(at, ARGS_FIRST - CLAIM_LEN);
		got = bpf_probe_read_user_str(&args->bytes[at], CLAIM_LEN, (void *)string);
		if (got < 0) {
			args->head.flags |= EXEC_ARGS_FAULT;
			return 0;
		}
		if (got == CLAIM_LEN)
			args->head.flags |= EXEC_ARGS_LIMITED;
		*len = at + got;
		args->head.args_offset = i + 1;
	}
	args->head.flags |= EXEC_ARGS_LIMITED;
	return 0;
}

static __always_inline void record_claim(struct task_struct *task, const struct claim *claim,
					 __u32 error, const struct place *place,
					 struct scope_stats *stats, struct exec_scratch *scratch)
{
	__u32 row = HOOK_FAILED;
	struct scope_budget *budget = budget_of(place->scope);
	struct path_scratch *path = bpf_map_lookup_elem(&path_scratch, &row);
	struct args_scratch *args = bpf_map_lookup_elem(&args_scratch, &row);
	struct exec_record *record = &scratch->record;
	struct fs_struct *fs = task->fs;
	struct process *process;
	__u64 tail, len, size;
	long got;

	if (!budget || !path || !args)
		return;
	__builtin_memset(record, 0, sizeof(*record));
	record->head.version = RECORD_VERSION;
	record->head.kind = RECORD_FAILED;
	record->head.hook = HOOK_FAILED;
	record->head.cpu = bpf_get_smp_processor_id();
	record->head.scope = place->scope;
	record->head.seq = __sync_fetch_and_add(&stats->seq, 1);
	record->time = bpf_ktime_get_boot_ns();
	record->image.start = task->group_leader->start_boottime;
	record->image.tgid = task->tgid;
	record->image.exec = task->self_exec_id;
	record->cgroup = place->cgroup;
	record->old_tid = task->pid;
	record->error = error;
	copy_ids(record, task, place);
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), task->comm);
	if (task->pid != task->tgid)
		record->head.flags |= EXEC_THREAD;
	process = known_process(task);
	if (process) {
		record->parent = process->logged;
		record->env_marker = process->env_marker;
	}

	got = bpf_probe_read_user_str(scratch->tail, PATH_LEN, (void *)claim->filename);
	if (got > 0)
		record->filename_len = got - 1;
	else
		record->head.flags |= EXEC_FILENAME_FAULT;
	if (got == PATH_LEN)
		record->head.flags |= EXEC_FILENAME_CUT;
	tail = record->filename_len;
	path->root_dentry = fs->root.dentry;
	path->root_mount = fs->root.mnt;
	path->dentry = fs->pwd.dentry;
	path->mount = fs->pwd.mnt;
	walk(HOOK_FAILED);
	record->cwd_len =
		append_path(scratch, tail, path, EXEC_CWD_FAULT, EXEC_CWD_CUT, EXEC_CWD_OUTSIDE);
	tail += record->cwd_len;
	record->tty_len = append_tty(scratch, tail, task);
	tail += record->tty_len;
	record->container_len = append_container(scratch, tail, place);
	tail += record->container_len;
	if (place->nested)
		record->head.flags |= EXEC_NESTED;

	args->head.args_len = 0;
	args->head.args_offset = 0;
	args->head.flags = 0;
	if (claim->argv)
		read_claims(claim->argv, claim->compat);
	record->argc = args->head.args_offset;
	record->head.flags |= args->head.flags;
	len = *(volatile __u32 *)&args->head.args_len;
	AT_MOST(len, ARGS_FIRST);
	AT_MOST(tail, TAIL_STRINGS + TTY_LEN + CGROUP_NAME_LEN);
	if (bpf_probe_read_kernel(&scratch->tail[tail], len, args->bytes))
		len = 0;
	record->head.args_len = len;
	record->args_total = len;
	record->args_wanted = len;
	size = sizeof(*record) + tail + len;
	AT_MOST(size, sizeof(*record) + sizeof(scratch->tail));
	/* The room that is left last is for execs. */
	if (room_for(budget) < ROOM_ALL || !send(budget, scratch, size))
		__sync_fetch_and_add(&stats->lost_ring_full, 1);
	else
		__sync_fetch_and_add(&stats->sent, 1);
}

/*
 * One of several programs, which can interrupt each other on one CPU where the
 * kernel is preemptible; they share scratch space, so the second one only counts.
 */
static __always_inline int on_failed(const struct claim *claim, long result)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 row = HOOK_FAILED;
	struct exec_scratch *scratch;
	struct scope_stats *stats;
	struct place place;

	if (result >= 0 || result <= -ERESTARTSYS || claim->flags & AT_EXECVE_CHECK ||
	    scope_index.detached)
		return 0;
	place = place_of(task, task->self_exec_id);
	if (!place.scope)
		return 0;
	stats = stats_of(place.scope, HOOK_FAILED);
	scratch = bpf_map_lookup_elem(&exec_scratch, &row);
	if (!stats || !scratch)
		return 0;
	stats->cpu = bpf_get_smp_processor_id();
	__sync_fetch_and_add(&stats->seen, 1);
	if (settings.failed == FAILED_NOTABLE && result == -ENOENT) {
		__sync_fetch_and_add(&stats->excluded_errno, 1);
		return 0;
	}
	/* No file was opened, so there is no path of which a rule could ask. */
	if (can_be_left_out(&place) && leave_out(without_path(rules_of_task(task)), true, stats))
		return 0;
	if (__sync_lock_test_and_set(&scratch->busy, 1)) {
		__sync_fetch_and_add(&stats->lost_busy, 1);
		return 0;
	}
	record_claim(task, claim, -result, &place, stats, scratch);
	scratch->busy = 0;
	return 0;
}

#endif

// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only
/*
 * The kernel's half of exectrace.
 *
 * An exec passes three places. task_rename fires inside it while the task still
 * bears the caller's name, which is kept. sched_process_exec fires when the new
 * image stands: what it was given lies in its own memory, where no other thread
 * can change it any more, and only execs that succeeded come here. If the exec
 * is some scope's, a record of it goes to the ring. sched_process_fork and
 * sched_process_exit keep the table of processes, from which a record knows its
 * nearest logged ancestor and a process tree its members.
 *
 * No other system call is touched. Whatever cannot be read is a flag in the
 * record; whatever cannot be sent is a count in the stats of its scope.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "record.h"
#include "maps.h"
#include "bound.h"
#include "follow.h"
#include "process.h"
#include "scope.h"
#include "path.h"
#include "room.h"
#include "rules.h"
#include "env.h"
#include "fields.h"
#include "args.h"
#include "failed.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The record alone, when there was no room for what it says in its tail. */
static __always_inline bool send_fixed(struct exec_scratch *scratch, struct scope_stats *stats,
				       struct scope_budget *budget)
{
	struct exec_record *record = &scratch->record;

	if (!(record->head.flags & EXEC_STRINGS_TIGHT))
		stats->strings_ring_full++;
	if (record->args_total && !(record->head.flags & EXEC_ARGS_TIGHT))
		stats->args_ring_full++;
	record->head.flags |= EXEC_STRINGS_TIGHT;
	if (record->args_total)
		record->head.flags |= EXEC_ARGS_TIGHT;
	record->filename_len = 0;
	record->interp_len = 0;
	record->exe_len = 0;
	record->cwd_len = 0;
	record->tty_len = 0;
	record->container_len = 0;
	record->args_wanted = 0;
	record->head.args_len = 0;
	return send(budget, scratch, sizeof(*record));
}

/* The exec itself: what is small and certain first, the arguments last. When the
 * ring is tight, the arguments go first, then the strings, and the record last. The
 * rules that are held up to here are those of which the path decides; 0: nothing of
 * the kind. env is as find_marker() tells it. */
static __always_inline void record_exec(struct task_struct *task, pid_t old_tid,
					struct linux_binprm *bprm, enum hook hook,
					const struct place *place, struct process *process,
					struct scope_stats *stats, __u64 held, __u64 env)
{
	__u32 row = hook;
	struct scope_budget *budget = budget_of(place->scope);
	struct exec_scratch *scratch = bpf_map_lookup_elem(&exec_scratch, &row);
	struct path_scratch *path = bpf_map_lookup_elem(&path_scratch, &row);
	const char *args = (const char *)task->mm->arg_start;
	__u64 args_total = task->mm->arg_end - task->mm->arg_start;
	struct exec_record *record;
	struct fs_struct *fs = task->fs;
	__u64 tail, len, size, keep;
	enum room room;

	/* Rows of an array that are always there; the verifier cannot know. */
	if (!scratch || !path || !budget)
		return;
	room = room_for(budget);
	if (room == ROOM_NONE && !held) {
		stats->seq++;
		stats->lost_ring_full++;
		return;
	}
	record = &scratch->record;

	path->dentry = bprm->file->f_path.dentry;
	path->mount = bprm->file->f_path.mnt;
	path->root_dentry = fs->root.dentry;
	path->root_mount = fs->root.mnt;
	walk(hook);
	if (held && leave_out(without_path(held) | (held & rules_of(path, hook)), false, stats))
		return;
	if (room == ROOM_NONE) {
		stats->seq++;
		stats->lost_ring_full++;
		return;
	}

	record->head.kind = RECORD_EXEC;
	record->head.version = RECORD_VERSION;
	record->head.hook = hook;
	record->head.cpu = bpf_get_smp_processor_id();
	record->head.scope = place->scope;
	record->head.flags = env >> 32;
	record->head.seq = stats->seq++;
	record->head.args_offset = 0;
	record->time = bpf_ktime_get_boot_ns();
	record->image.start = task->group_leader->start_boottime;
	record->image.tgid = task->tgid;
	record->image.exec = task->self_exec_id;
	record->cgroup = place->cgroup;
	record->old_tid = old_tid;
	record->argc = bprm->argc;
	copy_ids(record, task, place);
	copy_file(record, bprm);
	if (old_tid != task->pid)
		record->head.flags |= EXEC_THREAD;
	if (place->nested)
		record->head.flags |= EXEC_NESTED;
	if (bpf_core_field_exists(bprm->interp_flags) &&
	    bprm->interp_flags & BINPRM_FLAGS_PRESERVE_ARGV0)
		record->head.flags |= EXEC_ARGV0_KEPT;
	if (is_memfd(path, bprm->file->f_inode)) {
		record->head.flags |= EXEC_MEMFD;
		/* It never had a name to lose. */
		record->head.flags &= ~EXEC_DELETED;
	}

	if (process) {
		record->parent = process->logged;
		__builtin_memcpy(record->comm, process->comm, sizeof(record->comm));
		if (process->orphan && !process->logged.exec)
			record->head.flags |= EXEC_PARENT_UNKNOWN;
	} else {
		__builtin_memset(&record->parent, 0, sizeof(record->parent));
		record->head.flags |= EXEC_PARENT_UNKNOWN;
	}
	if (!process || process->comm_exec != record->image.exec) {
		__builtin_memset(record->comm, 0, sizeof(record->comm));
		record->head.flags |= EXEC_COMM_UNKNOWN;
	}

	record->error = 0;
	record->args_total = args_total;
	record->filename_len = 0;
	record->interp_len = 0;
	record->exe_len = 0;
	record->cwd_len = 0;
	record->tty_len = 0;
	record->container_len = 0;
	record->env_marker = env;
	tail = 0;
	if (bprm->interp != bprm->filename)
		record->head.flags |= EXEC_SCRIPT;
	if (room >= ROOM_STRINGS) {
		tail = record->filename_len = append_string(scratch, 0, PATH_LEN, bprm->filename,
							    EXEC_FILENAME_FAULT, EXEC_FILENAME_CUT);
		if (record->head.flags & EXEC_SCRIPT)
			record->interp_len = append_string(scratch, tail, INTERP_LEN, bprm->interp,
							   EXEC_INTERP_FAULT, EXEC_INTERP_CUT);
		tail += record->interp_len;
		record->exe_len = append_path(scratch, tail, path, EXEC_EXE_FAULT, EXEC_EXE_CUT,
					      EXEC_EXE_OUTSIDE);
		tail += record->exe_len;
		path->dentry = fs->pwd.dentry;
		path->mount = fs->pwd.mnt;
		walk(hook);
		record->cwd_len = append_path(scratch, tail, path, EXEC_CWD_FAULT, EXEC_CWD_CUT,
					      EXEC_CWD_OUTSIDE);
		tail += record->cwd_len;
		record->tty_len = append_tty(scratch, tail, task);
		tail += record->tty_len;
		record->container_len = append_container(scratch, tail, place);
		tail += record->container_len;
	} else {
		record->head.flags |= EXEC_STRINGS_TIGHT;
		stats->strings_ring_full++;
	}

	if (args_total > settings.args_limit) {
		args_total = settings.args_limit;
		record->head.flags |= EXEC_ARGS_LIMITED;
	}
	keep = room == ROOM_ALL ? ~0ULL : room == ROOM_STRINGS ? ARGS_TIGHT : 0;
	if (args_total > keep) {
		args_total = keep;
		record->head.flags |= EXEC_ARGS_TIGHT;
		stats->args_ring_full++;
	}
	record->args_wanted = args_total;
	len = args_total;
	AT_MOST(len, ARGS_FIRST);
	AT_MOST(tail, TAIL_STRINGS + TTY_LEN + CGROUP_NAME_LEN);
	if (bpf_probe_read_user(&scratch->tail[tail], len, args)) {
		stats->args_fault++;
		record->head.flags |= EXEC_ARGS_FAULT;
		record->args_wanted = 0;
		len = 0;
	}
	record->head.args_len = len;
	size = sizeof(*record) + tail + len;
	AT_MOST(size, sizeof(*record) + sizeof(scratch->tail));
	if (!send(budget, scratch, size) && !send_fixed(scratch, stats, budget)) {
		stats->lost_ring_full++;
		return;
	}
	stats->sent++;
	if (process) {
		process->logged = record->image;
		process->logged_at = record->time;
		process->scope = place->scope;
	}
	if (record->args_wanted > len) {
		scratch->args = (__u64)args;
		send_more_args(hook);
	}
}

/*
 * Each exec counts self_exec_id up by one, so an event of a process shows if
 * there were execs of it that no program saw. (A process that the kernel kills
 * on the way into its new image looks the same; so user space believes this
 * only as far as the kernel says that it skipped programs.)
 */
static __always_inline void account_for(struct process *process, __u32 exec, __u32 scope)
{
	__u32 missed = exec - process->seen_exec;
	struct scope_stats *stats;

	if (!missed)
		return;
	process->seen_exec = exec;
	stats = stats_of(scope, HOOK_EXEC);
	if (stats)
		__sync_fetch_and_add(&stats->missed, missed);
}

static __always_inline void note_seen_without_row(struct task_struct *task)
{
	struct image image = {
		.start = task->group_leader->start_boottime,
		.tgid = task->tgid,
		.exec = task->self_exec_id,
	};

	bpf_map_update_elem(&seen_without_row, &image.tgid, &image, BPF_ANY);
}

static __always_inline bool was_seen_without_row(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct image *image = bpf_map_lookup_elem(&seen_without_row, &tgid);

	return image && image->start == task->group_leader->start_boottime &&
	       image->exec == (__u32)task->self_exec_id;
}

static __always_inline int on_exec(struct task_struct *task, pid_t old_tid,
				   struct linux_binprm *bprm, enum hook hook)
{
	__u32 exec = task->self_exec_id;
	struct scope_stats *stats;
	struct process *process;
	struct place place;
	__u64 held = 0, env;

	if (scope_index.detached)
		return 0;
	place = place_in_exec(task, exec);
	if (!place.scope)
		return 0;
	stats = stats_of(place.scope, hook);
	if (!stats)
		return 0;
	stats->cpu = bpf_get_smp_processor_id();
	process = enlist(task, exec - 1, place.tree);
	/* Also if there is room for a row by now. */
	if (hook == HOOK_BACKUP && was_seen_without_row(task)) {
		if (process)
			process->seen_exec = exec;
		return 0;
	}
	if (process) {
		if (process->seen_exec == exec)
			return 0;
		account_for(process, exec - 1, place.scope);
		process->seen_exec = exec;
	} else {
		if (hook == HOOK_EXEC)
			note_seen_without_row(task);
		__sync_fetch_and_add(&stats->process_table_full, 1);
	}
	stats->seen++;
	/* Also of what is left out: what it starts may not be. */
	env = marker_of(task, bprm, hook, process);
	if (can_be_left_out(&place))
		held = rules_of_task(task);
	if (!needs_path(held)) {
		if (leave_out(without_path(held), false, stats))
			return 0;
		held = 0;
	}
	record_exec(task, old_tid, bprm, hook, &place, process, stats, held, env);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_first, struct task_struct *task, pid_t old_tid, struct linux_binprm *bprm)
{
	return on_exec(KNOWN(task), old_tid, KNOWN(bprm), HOOK_EXEC);
}

/*
 * From 7.0 on a program can be preempted, and an exec on the same CPU meanwhile
 * skips it. The guard is per program, so a second one sees what the first
 * missed; it knows by seen_exec what the first did not miss.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_backup, struct task_struct *task, pid_t old_tid, struct linux_binprm *bprm)
{
	return on_exec(KNOWN(task), old_tid, KNOWN(bprm), HOOK_BACKUP);
}

/* The tracer has just given itself a name that nobody else can know. */
static __always_inline void meet_tracer(struct task_struct *task, const char *comm)
{
	char name[COMM_LEN] = {};

	if (bpf_probe_read_kernel_str(name, sizeof(name), comm) != COMM_LEN)
		return;
	for (int i = 0; i < COMM_LEN; i++)
		if (name[i] != scope_index.own_name[i])
			return;
	scope_index.own_start = task->group_leader->start_boottime;
	scope_index.own_tgid = task->tgid;
	scope_index.own_wanted = 0;
}

/*
 * Called with the old name still in task->comm: by exec, just before it counts
 * self_exec_id up, and by prctl and /proc/PID/comm, whose traces the exec's own
 * call overwrites.
 */
SEC("tp_btf/task_rename")
int BPF_PROG(caller_comm, struct task_struct *task, const char *comm)
{
	struct process *process;
	struct place place;
	__u32 changes;

	task = KNOWN(task);
	if (scope_index.detached)
		return 0;
	if (scope_index.own_wanted)
		meet_tracer(task, comm);
	if (task->pid != task->tgid || task->pid != (pid_t)bpf_get_current_pid_tgid())
		return 0;
	changes = scope_index.changes;
	place = place_of(task, task->self_exec_id);
	keep_place(task, task->self_exec_id + 1, changes, &place);
	if (!place.scope)
		return 0;
	process = enlist(task, task->self_exec_id, place.tree);
	if (!process)
		return 0;
	account_for(process, task->self_exec_id, place.scope);
	bpf_probe_read_kernel(process->comm, sizeof(process->comm), task->comm);
	process->comm_exec = task->self_exec_id + 1;
	return 0;
}

/* Before the child runs. It inherits the nearest logged image and the tree. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct process *row, copy = {};
	struct scope_stats *stats;
	__u32 tgid, exec;

	parent = KNOWN(parent);
	child = KNOWN(child);
	tgid = child->tgid;
	exec = parent->self_exec_id;
	if (scope_index.detached)
		return 0;
	row = process_of(parent, exec);
	if (scope_index.own && parent->tgid == (pid_t)scope_index.own_tgid &&
	    parent->group_leader->start_boottime == scope_index.own_start &&
	    child->pid == child->tgid) {
		scope_index.child_start = child->start_boottime;
		scope_index.child_tgid = tgid;
	}
	if (!row)
		return 0;
	/* Also when a thread starts: the first one comes from a process that had but one, so
	 * that no two of them find the same miss. */
	if (row->seen_exec != exec)
		account_for(row, exec, place_of(parent, exec).scope);
	if (child->pid != child->tgid)
		return 0;
	copy.start = child->start_boottime;
	copy.logged = row->logged;
	copy.tree = row->tree;
	copy.orphan = row->orphan;
	copy.env_marker = row->env_marker;
	copy.seen_exec = exec;
	if (bpf_map_update_elem(&processes, &tgid, &copy, BPF_ANY)) {
		scope_index.forks_missed = 1;
		stats = stats_of(place_of(parent, exec).scope, HOOK_EXEC);
		/* An exec's program may have been interrupted here while it counted. */
		if (stats)
			__sync_fetch_and_add(&stats->process_table_full, 1);
	}
	return 0;
}

/* What wait(2) gives: wait_task_zombie() of kernel/exit.c. */
static __always_inline __u32 wait_status(struct task_struct *task)
{
	if (task->signal->flags & SIGNAL_GROUP_EXIT)
		return task->signal->group_exit_code;
	return task->group_leader->exit_code;
}

static __always_inline void record_exit(struct task_struct *task, const struct process *process)
{
	struct scope_stats *stats = stats_of(process->scope, HOOK_EXIT);
	struct scope_budget *budget = budget_of(process->scope);
	struct exit_record *record = bpf_map_lookup_elem(&exit_scratch, &(__u32){ 0 });

	if (!stats || !budget || !record)
		return;
	stats->cpu = bpf_get_smp_processor_id();
	stats->seen++;
	record->head.flags = 0;
	record->head.args_offset = 0;
	record->head.args_len = 0;
	record->head.version = RECORD_VERSION;
	record->head.kind = RECORD_EXIT;
	record->head.hook = HOOK_EXIT;
	record->head.cpu = stats->cpu;
	record->head.scope = process->scope;
	record->head.seq = stats->seq++;
	record->time = bpf_ktime_get_boot_ns();
	record->image = process->logged;
	record->lived = record->time - process->logged_at;
	record->cpu_time = task->signal->sum_sched_runtime + task->se.sum_exec_runtime;
	record->max_rss = task->signal->maxrss;
	record->status = wait_status(task);
	record->uid = task->cred->uid.val;
	bpf_probe_read_kernel(record->comm, sizeof(record->comm), task->comm);
	/* The room that is left last is for execs. */
	if (room_for(budget) < ROOM_STRINGS || !send(budget, record, sizeof(*record))) {
		stats->lost_ring_full++;
		return;
	}
	stats->sent++;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct process *process, last;
	__u32 tgid, exec;

	task = KNOWN(task);
	tgid = task->tgid;
	exec = task->self_exec_id;
	if (scope_index.detached || task->signal->live.counter != 0)
		return 0;
	if (scope_index.pid_namespaces)
		note_end_of_namespace(task);
	process = process_of(task, exec);
	if (!process)
		return 0;
	if (process->seen_exec != exec)
		account_for(process, exec, place_of(task, exec).scope);
	/* Every thread that comes here after the last one has gone down sees no live
	 * one; who removes the row tells of the end. */
	last = *process;
	if (bpf_map_delete_elem(&processes, &tgid))
		return 0;
	if (settings.exits && last.logged.tgid == tgid && last.logged.start == last.start)
		record_exit(task, &last);
	return 0;
}

/*
 * Ends of system calls that were to exec. The first kind costs nothing but the
 * failing call and is not to be had on every kernel; the second makes every
 * system call of the node slower, and has to be asked for. Only one is loaded.
 */
static __always_inline int execve_failed(const struct pt_regs *regs, long result)
{
	struct claim claim = { .filename = ARG_1(regs), .argv = ARG_2(regs) };

	return on_failed(&claim, result);
}

static __always_inline int execveat_failed(const struct pt_regs *regs, long result)
{
	struct claim claim = { .filename = ARG_2(regs), .argv = ARG_3(regs), .flags = ARG_5(regs) };

	return on_failed(&claim, result);
}

SEC("fexit/" SYSCALL_PREFIX "execve")
int BPF_PROG(fexit_execve, const struct pt_regs *regs, long result)
{
	return execve_failed(regs, result);
}

SEC("fexit/" SYSCALL_PREFIX "execveat")
int BPF_PROG(fexit_execveat, const struct pt_regs *regs, long result)
{
	return execveat_failed(regs, result);
}

SEC("fexit/" COMPAT_PREFIX "execve")
int BPF_PROG(fexit_compat_execve, const struct pt_regs *regs, long result)
{
	struct claim claim = { .compat = 1,
			       .filename = COMPAT_ARG_1(regs),
			       .argv = COMPAT_ARG_2(regs) };

	return on_failed(&claim, result);
}

SEC("fexit/" COMPAT_PREFIX "execveat")
int BPF_PROG(fexit_compat_execveat, const struct pt_regs *regs, long result)
{
	struct claim claim = { .compat = 1,
			       .filename = COMPAT_ARG_2(regs),
			       .argv = COMPAT_ARG_3(regs),
			       .flags = COMPAT_ARG_5(regs) };

	return on_failed(&claim, result);
}

SEC("tracepoint/syscalls/sys_exit_execve")
int exit_execve(struct syscall_trace_exit *trace)
{
	return execve_failed((void *)bpf_task_pt_regs(bpf_get_current_task_btf()), trace->ret);
}

SEC("tracepoint/syscalls/sys_exit_execveat")
int exit_execveat(struct syscall_trace_exit *trace)
{
	return execveat_failed((void *)bpf_task_pt_regs(bpf_get_current_task_btf()), trace->ret);
}

/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Whose exec is it? One look-up for each PID namespace that the task is in and
 * for each level of cgroups at which some scope lies, whatever the number of
 * scopes: the kernel keeps with each PID its number in every namespace above,
 * and with each cgroup all its ancestors, so nothing is walked and no depth
 * hides anything.
 *
 * What the tracer itself started last comes first, which only proves that it sees. Then a
 * process tree, then a pod, then the innermost PID namespace, then the innermost
 * cgroup, then the whole node.
 */
#ifndef EXECTRACE_SCOPE_H
#define EXECTRACE_SCOPE_H

/* The tracer refuses a scope at a level of 64 or more. */
#define CGROUP_LEVELS 64

/*
 * The two searches are of the current task, which execs, is renamed or forks.
 * They are not static and take no pointer, so that every verifier from 5.8 on
 * checks each once by itself and not one's rounds times the other's.
 */

/* A number that was given to another namespace meanwhile is no scope any more. */
static __always_inline bool has_init(struct ns_scope *scope, __u64 start)
{
	if (!scope->init_start)
		scope->init_start = start;
	return scope->init_start == start;
}

static __always_inline bool is_same_namespace(struct ns_scope *scope, struct pid_namespace *ns)
{
	return has_init(scope, FOLLOW(ns, child_reaper, group_leader, start_boottime));
}

/* The process ends. If it is the init of a namespace that is a scope, the kernel
 * ends all others of it now, and no process can ever come to be there again. */
static __always_inline void note_end_of_namespace(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct pid *pid = leader->thread_pid;
	__u32 level = pid->level, inum;
	struct ns_scope *scope;
	struct upid upid;

	if (!level)
		return;
	if (read_upid(&upid, pid, level) || upid.nr != 1)
		return;
	inum = FOLLOW(upid.ns, ns.inum);
	scope = bpf_map_lookup_elem(&pid_ns_scopes, &inum);
	if (scope && has_init(scope, leader->start_boottime))
		scope->ended = bpf_ktime_get_boot_ns();
}

/* Upper half: the level of the namespace that was found, or the task's own. */
__noinline __u64 scope_of_pid_ns(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u64 level, found = 0;
	__u32 own = FOLLOW(pid, level);

	level = own;
	for (__u32 i = 1; i <= MAX_PID_NS_LEVEL; i++) {
		struct ns_scope *scope;
		struct upid upid;
		__u32 inum;

		if (i > own)
			break;
		if (read_upid(&upid, pid, i))
			break;
		inum = FOLLOW(upid.ns, ns.inum);
		scope = bpf_map_lookup_elem(&pid_ns_scopes, &inum);
		if (scope && is_same_namespace(scope, upid.ns)) {
			found = scope->scope;
			level = i;
		}
	}
	return level << 32 | found;
}

/* Of a cgroup that lies at this level or below it. */
static __always_inline __u64 ancestor_id(struct cgroup *cgroup, __u32 level)
{
	struct cgroup *ancestor = NULL;
	__u64 id = 0;

	if (bpf_core_field_exists(cgroup->ancestors)) {
		bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
				      (void *)cgroup +
					      bpf_core_field_offset(struct cgroup, ancestors) +
					      level * sizeof(ancestor));
		return FOLLOW(ancestor, kn, id);
	}
	bpf_probe_read_kernel(&id, sizeof(id),
			      (void *)cgroup +
				      bpf_core_field_offset(struct cgroup___ids, ancestor_ids) +
				      level * sizeof(id));
	return id;
}

/* The same of the current task's. */
static __always_inline __u64 own_ancestor_id(struct cgroup *cgroup, __u32 level)
{
	return settings.casts ? bpf_get_current_ancestor_cgroup_id(level)
			      : ancestor_id(cgroup, level);
}

__noinline __u32 scope_of_cgroup(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cgroup *cgroup = FOLLOW(task, cgroups, dfl_cgrp);
	__u64 levels = scope_index.cgroup_levels;
	__u32 own = FOLLOW(cgroup, level), found = 0;

	for (__u32 i = 0; i < CGROUP_LEVELS; i++) {
		__u64 id;
		__u32 *scope;

		if (i > own)
			break;
		if (!(levels >> i & 1))
			continue;
		id = own_ancestor_id(cgroup, i);
		scope = bpf_map_lookup_elem(&cgroup_scopes, &id);
		if (scope)
			found = *scope;
	}
	return found;
}

static __always_inline bool is_in_pod(struct cgroup *cgroup)
{
	__u32 level = scope_index.pod_level & (CGROUP_LEVELS - 1);

	return (__u32)FOLLOW(cgroup, level) >= level &&
	       ancestor_id(cgroup, level) == scope_index.pod_cgroup;
}

/* The container in which the tracer runs is in the pod, and no part of the workspace. */
static __always_inline bool is_tracer_s(struct cgroup *cgroup)
{
	__u32 level = scope_index.tracer_level & (CGROUP_LEVELS - 1);

	return (__u32)FOLLOW(cgroup, level) >= level &&
	       ancestor_id(cgroup, level) == scope_index.tracer_cgroup;
}

/*
 * The cgroup by which the current task is in the pod: its own, or that of the init of
 * the PID namespace, at the level of the pod's containers, in which it is. So what a
 * container engine within the pod starts is the pod's, wherever the engine puts its
 * cgroups. 0: it is not in the pod.
 */
static __always_inline __u64 cgroup_in_pod(void)
{
	struct task_struct *task = (void *)bpf_get_current_task(), *init;
	struct cgroup *cgroup = FOLLOW(task, cgroups, dfl_cgrp);
	__u32 level = scope_index.pod_ns_level & (MAX_PID_NS_LEVEL - 1);
	struct upid upid;
	struct pid *pid;

	if (!is_in_pod(cgroup)) {
		pid = BPF_CORE_READ(task, thread_pid);
		if (!level || (__u32)FOLLOW(pid, level) < level || read_upid(&upid, pid, level))
			return 0;
		init = FOLLOW(upid.ns, child_reaper);
		if (!init)
			return 0;
		cgroup = FOLLOW(init, cgroups, dfl_cgrp);
		if (!is_in_pod(cgroup))
			return 0;
	}
	return is_tracer_s(cgroup) ? 0 : (__u64)cgroup;
}

/* Upper half: the level of the PID namespace in which the task is numbered. Its highest
 * bit: the task is nested. */
__noinline __u64 scope_of_pod(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u64 level = FOLLOW(pid, level), outer = scope_index.pod_ns_level, nested;
	__u64 cgroup = cgroup_in_pod();

	if (!cgroup)
		return level << 32;
	nested = level > outer || cgroup != (__u64)FOLLOW(task, cgroups, dfl_cgrp);
	if (level > outer)
		level = outer;
	return nested << 63 | level << 32 | scope_index.pod;
}

/* Where the name of the cgroup lies that holds the container of the pod in which the
 * current task is; the pod's cgroup is the one above it. 0: it has none. */
__noinline __u64 container_of_task(void)
{
	struct cgroup *cgroup = (void *)cgroup_in_pod();
	struct kernfs_node *node = cgroup ? BPF_CORE_READ(cgroup, kn) : NULL, *above;

	for (__u32 i = 0; i < CGROUP_LEVELS && node; i++) {
		if (bpf_core_field_exists(node->__parent))
			above = BPF_CORE_READ(node, __parent);
		else
			above = BPF_CORE_READ((struct kernfs_node___before *)node, parent);
		if (above && BPF_CORE_READ(above, id) == scope_index.pod_cgroup)
			return (__u64)BPF_CORE_READ(node, name);
		node = above;
	}
	return 0;
}

/* Of the current task, which the caller has as a pointer that it may follow. */
static __always_inline struct place place_of(struct task_struct *task, __u32 seen_exec)
{
	struct place place = { .cgroup = task->cgroups->dfl_cgrp->kn->id };
	struct process *process;

	place.level = task->thread_pid->level;
	if (scope_index.own && task->tgid == (pid_t)scope_index.child_tgid &&
	    task->group_leader->start_boottime == scope_index.child_start) {
		place.scope = scope_index.own;
		return place;
	}
	if (scope_index.trees) {
		process = process_of(task, seen_exec);
		place.scope = process ? process->tree : tree_above(task);
		place.tree = place.scope;
	}
	if (!place.scope && scope_index.pod) {
		__u64 found = scope_of_pod();

		place.scope = (__u32)found;
		place.level = found >> 32 & (MAX_PID_NS_LEVEL - 1);
		place.nested = found >> 63;
	}
	if (!place.scope && scope_index.pid_namespaces) {
		__u64 found = scope_of_pid_ns();

		place.scope = (__u32)found;
		place.level = found >> 32;
	}
	if (!place.scope && scope_index.cgroup_levels)
		place.scope = scope_of_cgroup();
	if (!place.scope)
		place.scope = scope_index.all;
	return place;
}

/* For place_in_exec, on the same CPU a few microseconds later. */
static __always_inline void keep_place(struct task_struct *task, __u32 exec, __u32 changes,
				       const struct place *place)
{
	struct kept_place *kept = bpf_map_lookup_elem(&kept_place, &(__u32){ 0 });

	if (!kept)
		return;
	/* The tgid is taken away first and comes back last: from 7.0 on, another exec's
	 * program can run on this CPU in between. */
	*(volatile __u32 *)&kept->of.tgid = 0;
	barrier();
	kept->of.start = task->group_leader->start_boottime;
	kept->of.exec = exec;
	kept->changes = changes;
	kept->place = *place;
	barrier();
	*(volatile __u32 *)&kept->of.tgid = task->tgid;
}

static __always_inline bool is_kept_for(const struct kept_place *kept, struct task_struct *task,
					__u32 exec)
{
	return *(volatile __u32 *)&kept->of.tgid == (__u32)task->tgid && kept->of.exec == exec &&
	       kept->of.start == task->group_leader->start_boottime;
}

/*
 * The same as place_of, at the end of an exec. If the program at its beginning ran
 * on this CPU, has found the answer, and since then neither a scope has come or
 * gone nor the task has been moved to another cgroup, that is the answer; a process
 * does not change its PID namespace.
 */
static __always_inline struct place place_in_exec(struct task_struct *task, __u32 exec)
{
	struct kept_place *kept = bpf_map_lookup_elem(&kept_place, &(__u32){ 0 });

	if (kept && !scope_index.claims && is_kept_for(kept, task, exec)) {
		struct place place = kept->place;
		__u32 changes = kept->changes;

		barrier();
		if (is_kept_for(kept, task, exec) && changes == scope_index.changes &&
		    place.cgroup == task->cgroups->dfl_cgrp->kn->id)
			return place;
	}
	return place_of(task, exec - 1);
}

#endif

// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only
/*
 * Where is the process that asks? Run once by it, attached to nothing
 * (BPF_PROG_TEST_RUN of a raw tracepoint's program runs in the caller's own context,
 * from 5.10 on), because a container sees neither the cgroups above it nor what they
 * are called: its cgroup namespace hides them. The kernel knows both.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "record.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Written by own_place, read by the tracer. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct own_place);
} found SEC(".maps");

SEC("raw_tp")
int own_place(void *context)
{
	struct own_place *place = bpf_map_lookup_elem(&found, &(__u32){ 0 });
	struct task_struct *task = (void *)bpf_get_current_task();
	struct kernfs_node *node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);

	if (!place)
		return 0;
	place->ns_level = BPF_CORE_READ(task, thread_pid, level);
	for (__u32 i = 0; i < CGROUPS_ABOVE; i++) {
		struct named_cgroup *cgroup = &place->cgroups[i];

		cgroup->id = BPF_CORE_READ(node, id);
		bpf_probe_read_kernel_str(cgroup->name, sizeof(cgroup->name),
					  BPF_CORE_READ(node, name));
		place->levels = i + 1;
		if (bpf_core_field_exists(node->__parent))
			node = BPF_CORE_READ(node, __parent);
		else
			node = BPF_CORE_READ((struct kernfs_node___before *)node, parent);
		if (!node) {
			place->complete = 1;
			break;
		}
	}
	return 0;
}

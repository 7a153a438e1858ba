/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Which execs are counted and not sent. There are up to 64 rules, each of which
 * joins conditions; so a set of rules is a number, of which bit n is rule n. Each
 * condition has a table of the rules that it lets through, and the rules that hold
 * are those which all tables let through, whatever their number (Lakshman and
 * Stiliadis 1998, as packets are classified).
 *
 * Some rules leave an exec out, others keep it whatever the first say. An exec that
 * is left out counts for the first rule that does so.
 */
#ifndef EXECTRACE_RULES_H
#define EXECTRACE_RULES_H

_Static_assert(MAX_RULES == 64, "a set of rules is a number of 64 bits");

/* What the tracer starts to see that it sees is never left out. */
static __always_inline bool can_be_left_out(const struct place *place)
{
	return scope_index.rules_out && place->scope != scope_index.own;
}

/* The rules that hold for a task if their conditions of a path, where they have
 * such, hold too. */
static __always_inline __u64 rules_of_task(struct task_struct *task)
{
	__u64 held = task->signal->tty ? scope_index.rules_tty : scope_index.rules_no_tty;
	__u64 any_uid = scope_index.rules_any_uid, *of_uid;
	__u32 uid = task->cred->uid.val;

	if (!(held & ~any_uid))
		return held;
	of_uid = bpf_map_lookup_elem(&rules_of_uid, &uid);
	return held & (of_uid ? any_uid | *of_uid : any_uid);
}

/* Those of them that have no condition of a path. */
static __always_inline __u64 without_path(__u64 held)
{
	return held & scope_index.rules_any_path;
}

/* Whether a path could change the answer: if the exec is left out, or by which. */
static __always_inline bool needs_path(__u64 held)
{
	__u64 sure = without_path(held), open = held & ~sure;
	__u64 out = scope_index.rules_out, keep = scope_index.rules_keep;
	__u64 first = sure & out;

	if (!open || sure & keep)
		return false;
	if (!first)
		return open & out;
	/* Bits below the lowest that is set. */
	return open & (keep | (out & (first - 1) & ~first));
}

/* The rules whose condition of a path the path that was walked fulfils. */
static __always_inline __u64 rules_of(struct path_scratch *path, enum hook hook)
{
	__u32 row = hook;
	struct path_key *key = bpf_map_lookup_elem(&path_key_scratch, &row);
	__u64 start = *(volatile __u32 *)&path->start, *rules;

	/* A path of which the front is missing cannot be told to begin with something. */
	if (!key || path->state != WALK_AT_ROOT)
		return 0;
	AT_MOST(start, PATH_LEN);
	/* A rule's whole path ends in a NUL, and so does what is compared. A rule's
	 * beginning of a path has none, so it never reaches beyond the path's end. */
	path->bytes[PATH_LEN] = 0;
	key->bits = RULE_PATH_LEN * 8;
	if (bpf_probe_read_kernel(key->path, RULE_PATH_LEN, &path->bytes[start]))
		return 0;
	rules = bpf_map_lookup_elem(&rules_of_path, key);
	return rules ? *rules : 0;
}

/* Counts an exec, or an attempt that failed, for the first of these rules. Not static
 * and with numbers for arguments, so that the verifier checks it once by itself. */
__noinline int count_for_first(__u64 rules, __u32 failed)
{
	struct left_out *counts;
	__u32 first = 0;

	for (__u32 half = 32; half; half /= 2) {
		if (rules & ((1ULL << half) - 1))
			continue;
		rules >>= half;
		first += half;
	}
	counts = bpf_map_lookup_elem(&left_out, &first);
	if (counts)
		__sync_fetch_and_add(failed ? &counts->failed : &counts->execs, 1);
	return 0;
}

/* Whether the rules that hold leave it out; if so, it is counted. */
static __always_inline bool leave_out(__u64 held, bool failed, struct scope_stats *stats)
{
	if (held & scope_index.rules_keep || !(held & scope_index.rules_out))
		return false;
	__sync_fetch_and_add(&stats->excluded_rule, 1);
	count_for_first(held & scope_index.rules_out, failed);
	return true;
}

#endif

/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * The path of a file as the process itself would name it: from its root, which
 * a chroot moves. bpf_d_path is refused at sched_process_exec, so the dentries
 * are walked from the file up, as fs/d_path.c does.
 */
#ifndef EXECTRACE_PATH_H
#define EXECTRACE_PATH_H

/* A path of PATH_MAX bytes can have 2,048 components; real ones have ten. What
 * has more is cut at its front and says so. */
#define PATH_COMPONENTS 96
#define STEPS_AT_ONCE	12

enum walk {
	WALK_GOES_ON = 0,
	WALK_AT_ROOT, /* the whole path, below the process's root */
	WALK_OUTSIDE, /* the whole path, but the root was not on the way */
	WALK_NO_MOUNT, /* a file of no directory: memfd, pipe, … */
	WALK_CUT, /* no room, or too many components */
	WALK_FAULT,
};

static __always_inline struct mount *real_mount(struct vfsmount *mount)
{
	return (void *)mount - bpf_core_field_offset(struct mount, mnt);
}

static __always_inline void enter_mount(struct path_scratch *path, struct vfsmount *mount)
{
	path->mount = mount;
	path->mount_root = FOLLOW(mount, mnt_root);
}

/* Puts one component in front of the path, or steps from a mount to where it
 * is mounted. All state is in the map, so that the verifier need not follow it. */
static __always_inline void step(struct path_scratch *path)
{
	struct dentry *dentry = path->dentry, *parent;
	const unsigned char *name;
	__u64 start = *(volatile __u32 *)&path->start, len;

	if (dentry == path->root_dentry && path->mount == path->root_mount) {
		path->state = WALK_AT_ROOT;
		return;
	}
	if (dentry == path->mount_root) {
		struct mount *mount = real_mount(path->mount);
		struct mount *above = FOLLOW(mount, mnt_parent);

		if (above == mount || !above) {
			path->state = WALK_OUTSIDE;
			return;
		}
		path->dentry = FOLLOW(mount, mnt_mountpoint);
		enter_mount(path, (void *)above + bpf_core_field_offset(struct mount, mnt));
		return;
	}
	parent = FOLLOW(dentry, d_parent);
	len = FOLLOW(dentry, d_name.len);
	name = FOLLOW(dentry, d_name.name);
	AT_MOST(len, 255);
	if (start <= len) {
		path->state = WALK_CUT;
		return;
	}
	start -= len;
	start--;
	AT_MOST(start, PATH_LEN);
	/* Again: 6.12 drops the bound of a register when one derived from it changes. */
	AT_MOST(len, 255);
	path->bytes[start] = '/';
	if (bpf_probe_read_kernel(&path->bytes[start + 1], len, name)) {
		path->state = WALK_FAULT;
		return;
	}
	*(volatile __u32 *)&path->start = start;
	if (parent == dentry) {
		path->state = WALK_NO_MOUNT;
		return;
	}
	path->dentry = parent;
}

/* Takes a few steps. See ARGS_AT_ONCE for why. */
__noinline __u32 step_on(__u32 hook)
{
	struct path_scratch *path = bpf_map_lookup_elem(&path_scratch, &hook);

	if (!path)
		return WALK_FAULT;
	for (int i = 0; i < STEPS_AT_ONCE; i++) {
		step(path);
		if (*(volatile __u32 *)&path->state != WALK_GOES_ON)
			break;
	}
	return path->state;
}

/*
 * Leaves the path in bytes[start..PATH_LEN] and returns how the walk ended. Not
 * static and with a number for an argument, so that every verifier from 5.8 on
 * checks it once by itself and not again for each caller.
 */
__noinline __u32 walk(__u32 hook)
{
	struct path_scratch *path = bpf_map_lookup_elem(&path_scratch, &hook);

	if (!path)
		return WALK_FAULT;
	enter_mount(path, path->mount);
	path->start = PATH_LEN;
	path->state = WALK_GOES_ON;
	for (int i = 0; i < PATH_COMPONENTS / STEPS_AT_ONCE; i++)
		if (step_on(hook) != WALK_GOES_ON)
			break;
	if (path->state == WALK_GOES_ON)
		path->state = WALK_CUT;
	if (path->start == PATH_LEN && path->state != WALK_FAULT) {
		path->start = PATH_LEN - 1;
		path->bytes[PATH_LEN - 1] = '/';
	}
	return path->state;
}

#endif

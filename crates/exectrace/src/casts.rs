//! Whether the kernel lets its pointers be followed as types (`bpf/follow.h`), and what it calls these types.

use std::ffi::CStr;

use crate::host;
use crate::skel::types::type_ids;

/// `bpf_rdonly_cast` is of 6.2, but between that and this no kernel was tried.
const FROM: (u32, u32) = (6, 12);

/// The numbers of the types, on kernels that can; `None`: members are read one by one.
pub(crate) fn types() -> Option<type_ids> {
    if host::kernel_version()? < FROM {
        return None;
    }
    host::function_id(c"bpf_rdonly_cast")?;
    let btf = KernelTypes::load()?;
    Some(type_ids {
        task_struct: btf.number_of(c"task_struct")?,
        linux_binprm: btf.number_of(c"linux_binprm")?,
        pid: btf.number_of(c"pid")?,
        pid_namespace: btf.number_of(c"pid_namespace")?,
        cgroup: btf.number_of(c"cgroup")?,
        dentry: btf.number_of(c"dentry")?,
        vfsmount: btf.number_of(c"vfsmount")?,
        mount: btf.number_of(c"mount")?,
    })
}

/// The kernel's own type information.
struct KernelTypes(*mut libbpf_sys::btf);

impl KernelTypes {
    fn load() -> Option<KernelTypes> {
        // SAFETY: it takes nothing, and what it returns is ours.
        let btf = unsafe { libbpf_sys::btf__load_vmlinux_btf() };
        // SAFETY: what libbpf returns as a pointer is what this asks about.
        let failed = btf.is_null() || unsafe { libbpf_sys::libbpf_get_error(btf.cast_const().cast()) } != 0;
        (!failed).then_some(KernelTypes(btf))
    }

    /// Of a struct. If there are two of its name, the first one is as good: CO-RE insists that their members
    /// lie at the same places.
    fn number_of(&self, name: &CStr) -> Option<u32> {
        // SAFETY: the pointer is valid until this is dropped, and the name is a C string of which nothing is kept.
        let number = unsafe { libbpf_sys::btf__find_by_name_kind(self.0, name.as_ptr(), libbpf_sys::BTF_KIND_STRUCT) };
        u32::try_from(number).ok().filter(|number| *number > 0)
    }
}

impl Drop for KernelTypes {
    fn drop(&mut self) {
        // SAFETY: it was loaded by us, and nobody else has it.
        unsafe { libbpf_sys::btf__free(self.0) };
    }
}

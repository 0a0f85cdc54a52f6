#define _GNU_SOURCE
#include "CNamespace.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/vfs.h>

const unsigned long outrigger_bind = MS_BIND;
const unsigned long outrigger_bind_tree = MS_BIND | MS_REC;
const unsigned long outrigger_private_tree = MS_PRIVATE | MS_REC;

int outrigger_unshare(int user) { return unshare(CLONE_NEWNS | (user ? CLONE_NEWUSER : 0)); }

int outrigger_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    return mount(source, target, type, flags, data);
}

int outrigger_has_huge_pages(const char *folder) {
    enum { HUGETLBFS = 0x958458f6 };
    struct statfs status;
    return statfs(folder, &status) == 0 && status.f_type == HUGETLBFS;
}

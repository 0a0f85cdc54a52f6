// mmap and its kin: a shared mapping of a BAR that can't be mapped becomes a region.
#include "Trap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FUSE_MAGIC 0x65735546
// Of the flags in sysfs's `resource` file: <linux/ioport.h>.
#define RESOURCE_MEMORY 0x200

static uintptr_t pages(size_t bytes) { return (bytes + TRAP_PAGE - 1) & ~(uintptr_t)(TRAP_PAGE - 1); }

// The size of the memory BAR whose file this is, or 0: a file `resourceN` or `resourceN_wc` on FUSE, of which the file `resource` beside it
// says that it is memory.
static uint64_t bar_size(int file) {
    struct statfs system;
    struct stat status;
    if (fstatfs(file, &system) != 0 || system.f_type != FUSE_MAGIC || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    char *name = strrchr(path, '/');
    unsigned number;
    if (!name || sscanf(name, "/resource%1u", &number) != 1) return 0;
    if (name[10] != 0 && strcmp(name + 10, "_wc") != 0) return 0;
    name[9] = 0;
    FILE *resources = fopen(path, "re");
    if (!resources) return 0;
    unsigned long long first = 0, last = 0, flags = 0;
    for (unsigned line = 0; line <= number; line++) {
        if (fscanf(resources, "%llx %llx %llx", &first, &last, &flags) != 3) flags = 0;
    }
    fclose(resources);
    return flags & RESOURCE_MEMORY ? (uint64_t)status.st_size : 0;
}

// Memory without any permission in the place of a mapping that was refused.
static void *map_region(void *hint, size_t length, int protection, int flags, int file, off_t offset) {
    uint64_t size = bar_size(file);
    if (size == 0) return errno = ENODEV, MAP_FAILED;
    // As for a real BAR: whole pages, those in which it ends included.
    if ((uint64_t)offset > pages(size) || pages(length) > pages(size) - (uint64_t)offset) return errno = EINVAL, MAP_FAILED;
    if (!trap_activate()) return errno = ENODEV, MAP_FAILED;
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT));
    void *memory = (void *)syscall(SYS_mmap, hint, length, PROT_NONE, flags, -1, (off_t)0);
    if (memory == MAP_FAILED) return MAP_FAILED;
    uintptr_t start = (uintptr_t)memory;
    if (!trap_add((trap_region){start, start + pages(length), file, (uint64_t)offset, protection & (PROT_READ | PROT_WRITE)})) {
        int error = errno;
        syscall(SYS_munmap, memory, length);
        return errno = error, MAP_FAILED;
    }
    return memory;
}

TRAP_EXPORT void *mmap(void *hint, size_t length, int protection, int flags, int file, off_t offset) {
    if (flags & MAP_FIXED && trap_overlaps((uintptr_t)hint, (uintptr_t)hint + length)) {
        trap_remove((uintptr_t)hint, (uintptr_t)hint + pages(length));
    }
    void *memory = (void *)syscall(SYS_mmap, hint, length, protection, flags, file, offset);
    bool refused = memory == MAP_FAILED && errno == ENODEV && file >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE;
    return refused ? map_region(hint, length, protection, flags, file, offset) : memory;
}

TRAP_EXPORT void *mmap64(void *hint, size_t length, int protection, int flags, int file, off64_t offset) {
    return mmap(hint, length, protection, flags, file, offset);
}

TRAP_EXPORT int munmap(void *memory, size_t length) {
    uintptr_t start = (uintptr_t)memory;
    if (trap_overlaps(start, start + length)) trap_remove(start, start + pages(length));
    return (int)syscall(SYS_munmap, memory, length);
}

TRAP_EXPORT int mprotect(void *memory, size_t length, int protection) {
    uintptr_t start = (uintptr_t)memory, end = start + pages(length);
    trap_region region;
    if (!trap_overlaps(start, end)) return (int)syscall(SYS_mprotect, memory, length, protection);
    // What lies between regions is the program's own.
    for (uintptr_t at = start; at < end;) {
        if (trap_find(at, &region)) {
            at = region.end;
        } else {
            uintptr_t next = at + TRAP_PAGE;
            while (next < end && !trap_overlaps(next, next + TRAP_PAGE)) next += TRAP_PAGE;
            if (syscall(SYS_mprotect, at, next - at, protection) != 0) return -1;
            at = next;
        }
    }
    trap_protect(start, end, protection & (PROT_READ | PROT_WRITE));
    return 0;
}

TRAP_EXPORT void *mremap(void *memory, size_t old_length, size_t length, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    void *target = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    // The kernel refuses to let a mapping of a device grow; to move one is not supported here.
    if (trap_overlaps((uintptr_t)memory, (uintptr_t)memory + old_length)) return errno = EFAULT, MAP_FAILED;
    if (target && trap_overlaps((uintptr_t)target, (uintptr_t)target + length)) {
        trap_remove((uintptr_t)target, (uintptr_t)target + pages(length));
    }
    return (void *)syscall(SYS_mremap, memory, old_length, length, flags, target);
}

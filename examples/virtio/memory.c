// Memory that the device reaches.
//
// A device addresses memory by physical addresses, and a program has virtual ones. So a driver in user space needs memory
//   - that is contiguous in physical memory, as the device knows nothing of the program's pages: a huge page is, over its 2 MiB;
//   - that stays where it is: the kernel moves and swaps ordinary pages, huge ones it doesn't;
//   - whose physical address it can find out: /proc/self/pagemap tells it to programs with CAP_SYS_ADMIN.
//
// Huge pages have to be reserved first: echo 8 > /proc/sys/vm/nr_hugepages.
#define _GNU_SOURCE
#include "virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

void fail(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (error) fprintf(stderr, ": %s", strerror(error));
    fprintf(stderr, "\n");
    exit(1);
}

/// The physical address of a byte that is in memory (Linux, Documentation/admin-guide/mm/pagemap.rst): an entry of 64 bits for each page,
/// with the number of the physical page in bits 0 to 54, and bit 63 if there is one.
static uint64_t physical_address(const void *place) {
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) fail("/proc/self/pagemap");
    uint64_t entry = 0;
    ssize_t count = pread(pagemap, &entry, sizeof entry, (off_t)((uintptr_t)place / PAGE * sizeof entry));
    close(pagemap);
    uint64_t frame = entry & (FEATURE(55) - 1);
    errno = 0;
    if (count != sizeof entry || !(entry >> 63) || frame == 0) fail("no physical address: CAP_SYS_ADMIN is needed to see it");
    return frame * PAGE + (uintptr_t)place % PAGE;
}

void memory_open(struct memory *memory) {
    // Shared, so that the device's side may map it too. A file in hugetlbfs does as well, and may be unlinked at once.
    void *bytes = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (bytes == MAP_FAILED) fail("a huge page (see /proc/sys/vm/nr_hugepages)");
    // The page comes with the first access.
    memset(bytes, 0, HUGE_PAGE);
    *memory = (struct memory){.bytes = bytes, .physical = physical_address(bytes)};
}

void *memory_take(struct memory *memory, size_t count, size_t alignment) {
    size_t start = (memory->used + alignment - 1) & ~(alignment - 1);
    errno = 0;
    if (start + count > HUGE_PAGE) fail("the huge page is full");
    memory->used = start + count;
    return memory->bytes + start;
}

uint64_t memory_address(const struct memory *memory, const void *place) {
    return memory->physical + (uint64_t)((const uint8_t *)place - memory->bytes);
}

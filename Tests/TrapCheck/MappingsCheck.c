// Mappings of BARs: sizes, pieces, protection, what takes their place.
#define _GNU_SOURCE
#include "Check.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf refused;
static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    siglongjmp(refused, 1);
}

static bool can_read(volatile uint8_t *at) {
    if (sigsetjmp(refused, 1)) return false;
    (void)*at;
    return true;
}

static bool can_write(volatile uint8_t *at) {
    if (sigsetjmp(refused, 1)) return false;
    *at = 1;
    return true;
}

static int mapping_error(int number, size_t bytes, size_t offset, int protection, int flags, int mode) {
    char path[] = CARD "resource0";
    path[sizeof path - 2] = (char)('0' + number);
    int file = open(path, mode);
    void *memory = mmap(NULL, bytes, protection, flags, file, (off_t)offset);
    int error = memory == MAP_FAILED ? errno : 0;
    if (memory != MAP_FAILED) munmap(memory, bytes);
    close(file);
    return error;
}

static void check_bounds(void) {
    CHECK(mapping_error(0, BAR0_BYTES, 0, PROT_READ, MAP_SHARED, O_RDWR) == 0);
    CHECK(mapping_error(0, PAGE, PAGE, PROT_READ, MAP_SHARED, O_RDWR) == 0);
    CHECK(mapping_error(0, BAR0_BYTES + 1, 0, PROT_READ, MAP_SHARED, O_RDWR) == EINVAL);
    CHECK(mapping_error(0, BAR0_BYTES, PAGE, PROT_READ, MAP_SHARED, O_RDWR) == EINVAL);
    CHECK(mapping_error(0, PAGE, 0, PROT_READ | PROT_WRITE, MAP_SHARED, O_RDONLY) == EACCES);
    CHECK(mapping_error(2, 16, 0, PROT_READ, MAP_SHARED, O_RDWR) == ENODEV, "ports");
    // A whole page of a BAR of 64 bytes: behind it nobody answers.
    volatile uint8_t *small = map_bar(1, PAGE, 0, PROT_READ | PROT_WRITE, NULL);
    *(volatile uint32_t *)(small + 60) = 77;
    CHECK(*(volatile uint32_t *)(small + 60) == 77 && *(volatile uint32_t *)(small + 64) == 0xffffffff);
    *(volatile uint32_t *)(small + 64) = 1;
    CHECK(munmap((void *)small, PAGE) == 0);
}

static void check_pieces(void) {
    // The first page goes, the second stays where it was; then memory takes its place.
    volatile uint8_t *both = map_bar(0, BAR0_BYTES, 0, PROT_READ | PROT_WRITE, NULL);
    accesses();
    both[0] = 1;
    both[PAGE] = 2;
    CHECK(were_accesses(0, 0, "w1+0 w1+4096"));
    CHECK(munmap((void *)both, PAGE) == 0);
    CHECK(!can_read(both) && both[PAGE] == 2);
    // Another window of the same BAR at another offset.
    volatile uint8_t *second = map_bar(0, PAGE, PAGE, PROT_READ | PROT_WRITE, NULL);
    second[4] = 9;
    CHECK(both[PAGE + 4] == 9);
    accesses();
    CHECK(mmap((void *)(both + PAGE), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == both + PAGE);
    both[PAGE] = 7;
    CHECK(both[PAGE] == 7 && accesses()[0] == '\n');
    CHECK(munmap((void *)(both + PAGE), PAGE) == 0 && munmap((void *)second, PAGE) == 0);
}

static void check_protection(void) {
    volatile uint8_t *bar = map_bar(0, BAR0_BYTES, 0, PROT_READ, NULL);
    CHECK(can_read(bar) && !can_write(bar));
    CHECK(mprotect((void *)(bar + PAGE), PAGE, PROT_READ | PROT_WRITE) == 0);
    CHECK(!can_write(bar) && can_write(bar + PAGE) && bar[PAGE] == 1);
    CHECK(mprotect((void *)bar, BAR0_BYTES, PROT_NONE) == 0);
    CHECK(!can_read(bar) && !can_read(bar + PAGE));
    CHECK(mprotect((void *)bar, BAR0_BYTES, PROT_READ | PROT_WRITE) == 0);
    CHECK(can_write(bar) && can_read(bar + PAGE));
    CHECK(mremap((void *)bar, BAR0_BYTES, 2 * BAR0_BYTES, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
    CHECK(munmap((void *)bar, BAR0_BYTES) == 0 && !can_read(bar));
}

void check_mappings(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, previous;
    sigaction(SIGSEGV, &action, &previous);
    check_bounds();
    check_pieces();
    check_protection();
    // More of them than there is room for at a time, one after the other.
    for (int i = 0; i < 1000; i++) munmap((void *)map_bar(0, BAR0_BYTES, 0, PROT_READ, NULL), BAR0_BYTES);
    sigaction(SIGSEGV, &previous, NULL);
}

// Port instructions: every width, strings, rights.
#define _GNU_SOURCE
#include "Check.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/io.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf refused;
static void on_fault(int signal) {
    (void)signal;
    siglongjmp(refused, 1);
}

static bool faults(unsigned short port) {
    if (sigsetjmp(refused, 1)) return true;
    (void)inb(port);
    return false;
}

void check_ports(void) {
    struct sigaction action = {.sa_handler = on_fault}, previous;
    sigaction(SIGSEGV, &action, &previous);
    CHECK(faults(PORT), "without a right");
    CHECK(ioperm(PORT, 2, 1) == 0);
    CHECK(!faults(PORT) && !faults(PORT + 1) && faults(PORT + 2));
    CHECK(ioperm(PORT, 2, 0) == 0 && faults(PORT));
    CHECK(ioperm(0x10000, 1, 1) == -1 && iopl(4) == -1);
    CHECK(iopl(3) == 0 && !faults(PORT));
    accesses();

    outb(0x12, PORT);
    outw(0x3456, PORT + 2);
    outl(0x789abcde, PORT + 4);
    CHECK(were_accesses(2, 0, "w1+0 w2+2 w4+4"));
    CHECK(inb(PORT) == 0x12 && inw(PORT + 2) == 0x3456 && inl(PORT + 4) == 0x789abcde);
    CHECK(were_accesses(2, 0, "r1+0 r2+2 r4+4"));

    // Only as much of the register as the width says; 32 bits clear the upper half.
    uint64_t value = ~0ul;
    __asm__ volatile("inb %%dx, %%al" : "+a"(value) : "d"(PORT));
    CHECK(value == 0xffffffffffffff12u);
    __asm__ volatile("inl %%dx, %%eax" : "+a"(value) : "d"(PORT + 4));
    CHECK(value == 0x789abcde);
    // The port in the instruction: nobody is at 0x80.
    __asm__ volatile("outb %%al, $0x80; inb $0x80, %%al" : "+a"(value));
    CHECK(value == 0x789abcff);
    CHECK(inl(0x1000) == 0xffffffff);
    accesses();

    uint32_t words[3] = {1, 2, 3}, back[3] = {0};
    outsl(PORT + 8, words, 3);
    CHECK(were_accesses(2, 0, "w4+8 w4+8 w4+8"));
    insw(PORT + 8, back, 2);
    CHECK(were_accesses(2, 0, "r2+8 r2+8") && back[0] == 0x30003);

    CHECK(iopl(0) == 0 && faults(PORT));
    sigaction(SIGSEGV, &previous, NULL);
}

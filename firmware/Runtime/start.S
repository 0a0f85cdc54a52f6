# Start-up and traps of the management core's harts. Sections: RISC-V privileged architecture 1.12.
#
# The firmware runs in M mode with interrupts off and takes them by polling after wfi (3.3.3), so that a trap is never part of its
# normal work: an exception is a crash, and the only interrupt ever taken is the watchdog's bark out of a hung event loop.

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    csrw    mie, zero
    csrw    mip, zero
    csrr    t0, mhartid
    bnez    t0, standby

    la      sp, __stack_top
    la      t0, trap_vector + 1             # vectored mode (3.1.7)
    csrw    mtvec, t0

    # There is no initialised writable data (link.ld asserts it), so that a restart by the watchdog begins like the first start did.
    la      a0, __bss_start
    la      a2, __bss_end
1:  bgeu    a0, a2, 2f
    sw      zero, 0(a0)
    addi    a0, a0, 4
    j       1b
2:  call    offload_main                    # never returns
    unimp

# A hart that isn't the primary one sleeps; SYSCTL starts it anew, at an address of its own, when it is needed.
standby:
    la      t0, halt
    csrw    mtvec, t0
    wfi
    j       standby

    .section .text.trap, "ax", @progbits
    .balign 64
trap_vector:
    .option push
    .option norvc
    .rept 12
    j       trap_entry
    .endr
    .option pop

# Keeps all 32 registers and the trap's CSRs in `offload_fault_frame`, and leaves the rest to `offload_fault` on a stack of its own:
# the one that was in use may be what overflowed.
trap_entry:
    csrw    mscratch, sp
    la      sp, offload_fault_frame
    sw      zero, 0*4(sp)
    sw      ra, 1*4(sp)
    sw      gp, 3*4(sp)
    sw      tp, 4*4(sp)
    sw      t0, 5*4(sp)
    sw      t1, 6*4(sp)
    sw      t2, 7*4(sp)
    sw      s0, 8*4(sp)
    sw      s1, 9*4(sp)
    sw      a0, 10*4(sp)
    sw      a1, 11*4(sp)
    sw      a2, 12*4(sp)
    sw      a3, 13*4(sp)
    sw      a4, 14*4(sp)
    sw      a5, 15*4(sp)
    sw      a6, 16*4(sp)
    sw      a7, 17*4(sp)
    sw      s2, 18*4(sp)
    sw      s3, 19*4(sp)
    sw      s4, 20*4(sp)
    sw      s5, 21*4(sp)
    sw      s6, 22*4(sp)
    sw      s7, 23*4(sp)
    sw      s8, 24*4(sp)
    sw      s9, 25*4(sp)
    sw      s10, 26*4(sp)
    sw      s11, 27*4(sp)
    sw      t3, 28*4(sp)
    sw      t4, 29*4(sp)
    sw      t5, 30*4(sp)
    sw      t6, 31*4(sp)
    csrr    t0, mscratch
    sw      t0, 2*4(sp)
    csrr    t0, mcause
    sw      t0, 32*4(sp)
    csrr    t0, mepc
    sw      t0, 33*4(sp)
    csrr    t0, mtval
    sw      t0, 34*4(sp)
    csrr    t0, mstatus
    sw      t0, 35*4(sp)
    mv      a0, sp
    la      t0, halt                        # a fault while a fault is being recorded
    csrw    mtvec, t0
    la      sp, __fault_stack_top
    call    offload_fault                   # never returns
    .balign 4
halt:
    csrw    mie, zero                       # until the watchdog bites
    wfi
    j       halt

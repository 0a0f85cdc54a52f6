// void trap_enter(struct cell *): runs the code at the cell's `entry` with the cell's registers, all of them, and takes them back.
// The code itself loads and saves RDI, which holds the cell here, and jumps to the cell's `return_to`.
#include "Execute.h"

    .text
    .globl trap_enter
    .hidden trap_enter
    .type trap_enter, @function
trap_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, CELL_STACK(%rdi)
    // Vector and x87 registers are in the signal frame; they are loaded only for an instruction that has one.
    mov CELL_STATE(%rdi), %rcx
    test %rcx, %rcx
    jz 1f
    mov CELL_FEATURES(%rdi), %eax
    xor %edx, %edx
    xrstor64 (%rcx)
1:  pushq CELL_FLAGS(%rdi)
    popfq
    mov CELL_R8+0(%rdi), %r8
    mov CELL_R8+8(%rdi), %r9
    mov CELL_R8+16(%rdi), %r10
    mov CELL_R8+24(%rdi), %r11
    mov CELL_R8+32(%rdi), %r12
    mov CELL_R8+40(%rdi), %r13
    mov CELL_R8+48(%rdi), %r14
    mov CELL_R8+56(%rdi), %r15
    mov CELL_RSI(%rdi), %rsi
    mov CELL_RBP(%rdi), %rbp
    mov CELL_RBX(%rdi), %rbx
    mov CELL_RDX(%rdi), %rdx
    mov CELL_RAX(%rdi), %rax
    mov CELL_RCX(%rdi), %rcx
    mov CELL_RSP(%rdi), %rsp
    jmp *CELL_ENTRY(%rdi)
    .size trap_enter, . - trap_enter

    .globl trap_leave
    .hidden trap_leave
    .type trap_leave, @function
trap_leave:
    mov %r8, CELL_R8+0(%rdi)
    mov %r9, CELL_R8+8(%rdi)
    mov %r10, CELL_R8+16(%rdi)
    mov %r11, CELL_R8+24(%rdi)
    mov %r12, CELL_R8+32(%rdi)
    mov %r13, CELL_R8+40(%rdi)
    mov %r14, CELL_R8+48(%rdi)
    mov %r15, CELL_R8+56(%rdi)
    mov %rsi, CELL_RSI(%rdi)
    mov %rbp, CELL_RBP(%rdi)
    mov %rbx, CELL_RBX(%rdi)
    mov %rdx, CELL_RDX(%rdi)
    mov %rax, CELL_RAX(%rdi)
    mov %rcx, CELL_RCX(%rdi)
    mov %rsp, CELL_RSP(%rdi)
    mov CELL_STACK(%rdi), %rsp
    pushfq
    popq CELL_FLAGS(%rdi)
    cld
    mov CELL_STATE(%rdi), %rcx
    test %rcx, %rcx
    jz 2f
    mov CELL_FEATURES(%rdi), %eax
    xor %edx, %edx
    xsave64 (%rcx)
2:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size trap_leave, . - trap_leave
    .section .note.GNU-stack,"",@progbits

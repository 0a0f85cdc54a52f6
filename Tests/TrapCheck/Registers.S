// Runs one instruction form with all registers from `state_in`, and stores them in `state_out`: registers as pushed here, flags, and the
// first four vector registers as wide as this processor has them (`vector_bytes`).
    .bss
    .balign 64
    .globl state_in, state_out, vector_bytes
state_in: .zero 512
state_out: .zero 512
vector_bytes: .long 0
    .set STATE_FLAGS, 128
    .set STATE_VECTORS, 192

    .text
    // void run_form(void (*form)(void))
    .globl run_form
    .type run_form, @function
run_form:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    // The form returns to the end of this function; what it pushes and pops in between is below and at the stack's end.
    call *%rdi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    cld
    ret

    .globl load_state
    .type load_state, @function
load_state:
    cmpl $32, vector_bytes(%rip)
    jb 1f
    ja 2f
    vmovdqu state_in+STATE_VECTORS(%rip), %ymm0
    vmovdqu state_in+STATE_VECTORS+64(%rip), %ymm1
    vmovdqu state_in+STATE_VECTORS+128(%rip), %ymm2
    vmovdqu state_in+STATE_VECTORS+192(%rip), %ymm3
    jmp 3f
1:  movdqu state_in+STATE_VECTORS(%rip), %xmm0
    movdqu state_in+STATE_VECTORS+64(%rip), %xmm1
    movdqu state_in+STATE_VECTORS+128(%rip), %xmm2
    movdqu state_in+STATE_VECTORS+192(%rip), %xmm3
    jmp 3f
2:  vmovdqu64 state_in+STATE_VECTORS(%rip), %zmm0
    vmovdqu64 state_in+STATE_VECTORS+64(%rip), %zmm1
    vmovdqu64 state_in+STATE_VECTORS+128(%rip), %zmm2
    vmovdqu64 state_in+STATE_VECTORS+192(%rip), %zmm3
3:  pushq state_in+STATE_FLAGS(%rip)
    popfq
    mov state_in+0(%rip), %rax
    mov state_in+8(%rip), %rcx
    mov state_in+16(%rip), %rdx
    mov state_in+24(%rip), %rbx
    mov state_in+40(%rip), %rbp
    mov state_in+48(%rip), %rsi
    mov state_in+56(%rip), %rdi
    mov state_in+64(%rip), %r8
    mov state_in+72(%rip), %r9
    mov state_in+80(%rip), %r10
    mov state_in+88(%rip), %r11
    mov state_in+96(%rip), %r12
    mov state_in+104(%rip), %r13
    mov state_in+112(%rip), %r14
    mov state_in+120(%rip), %r15
    ret

    .globl store_state
    .type store_state, @function
store_state:
    mov %rax, state_out+0(%rip)
    mov %rcx, state_out+8(%rip)
    mov %rdx, state_out+16(%rip)
    mov %rbx, state_out+24(%rip)
    mov %rbp, state_out+40(%rip)
    mov %rsi, state_out+48(%rip)
    mov %rdi, state_out+56(%rip)
    mov %r8, state_out+64(%rip)
    mov %r9, state_out+72(%rip)
    mov %r10, state_out+80(%rip)
    mov %r11, state_out+88(%rip)
    mov %r12, state_out+96(%rip)
    mov %r13, state_out+104(%rip)
    mov %r14, state_out+112(%rip)
    mov %r15, state_out+120(%rip)
    pushfq
    popq state_out+STATE_FLAGS(%rip)
    cmpl $32, vector_bytes(%rip)
    jb 1f
    ja 2f
    vmovdqu %ymm0, state_out+STATE_VECTORS(%rip)
    vmovdqu %ymm1, state_out+STATE_VECTORS+64(%rip)
    vmovdqu %ymm2, state_out+STATE_VECTORS+128(%rip)
    vmovdqu %ymm3, state_out+STATE_VECTORS+192(%rip)
    ret
1:  movdqu %xmm0, state_out+STATE_VECTORS(%rip)
    movdqu %xmm1, state_out+STATE_VECTORS+64(%rip)
    movdqu %xmm2, state_out+STATE_VECTORS+128(%rip)
    movdqu %xmm3, state_out+STATE_VECTORS+192(%rip)
    ret
2:  vmovdqu64 %zmm0, state_out+STATE_VECTORS(%rip)
    vmovdqu64 %zmm1, state_out+STATE_VECTORS+64(%rip)
    vmovdqu64 %zmm2, state_out+STATE_VECTORS+128(%rip)
    vmovdqu64 %zmm3, state_out+STATE_VECTORS+192(%rip)
    ret
    .section .note.GNU-stack,"",@progbits

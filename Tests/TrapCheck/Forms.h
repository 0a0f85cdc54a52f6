// The forms of access, each as X(needs, text, accesses): what the processor must have (0; AVX: AVX2; AVX512), the instruction, and
// the accesses that the device must see, relative to the operand. RBX is the operand's address, R12, R13 and RSI too, RBP is 64 less;
// RCX is 3, RDI the address of plain memory, RAX, RDX and R8 to R11 hold patterns.
//
// String instructions, which have two sides, are run with both exchanged as well.
#define FORMS(X)                                                                                                        \
    /* Stores of general-purpose registers and immediates. */                                                           \
    X(0, "movb %al, (%rbx)", "w1+0")                                                                                    \
    X(0, "movb %dh, (%rbx)", "w1+0")                                                                                    \
    X(0, "movb %r9b, (%rbx)", "w1+0")                                                                                   \
    X(0, "movb %sil, (%rbx)", "w1+0")                                                                                   \
    X(0, "movw %dx, (%rbx)", "w2+0")                                                                                    \
    X(0, "movl %edx, (%rbx)", "w4+0")                                                                                   \
    X(0, "movl %r10d, 4(%rbx)", "w4+4")                                                                                 \
    X(0, "movq %rax, (%rbx)", "w8+0")                                                                                   \
    X(0, "movq %rsp, (%rbx); movq $0, (%rbx)", "w8+0 w8+0")                                                             \
    X(0, "movb $0x5a, (%rbx)", "w1+0")                                                                                  \
    X(0, "movw $0x1234, (%rbx)", "w2+0")                                                                                \
    X(0, "movl $0x12345678, (%rbx)", "w4+0")                                                                            \
    X(0, "movq $-2, (%rbx)", "w8+0")                                                                                    \
    X(0, "movnti %edx, (%rbx)", "w4+0")                                                                                 \
    X(0, "movnti %rdx, (%rbx)", "w8+0")                                                                                 \
    X(AVX, "movbe %edx, (%rbx)", "w4+0")                                                                                  \
    X(0, "setc (%rbx)", "w1+0")                                                                                         \
    X(0, "pushq %rax; popq (%rbx)", "w8+0")                                                                             \
    /* Loads. */                                                                                                        \
    X(0, "movb (%rbx), %al", "r1+0")                                                                                    \
    X(0, "movb 1(%rbx), %ah", "r1+1")                                                                                   \
    X(0, "movb (%rbx), %r11b", "r1+0")                                                                                  \
    X(0, "movw 2(%rbx), %dx", "r2+2")                                                                                   \
    X(0, "movl (%rbx), %eax", "r4+0")                                                                                   \
    X(0, "movl (%rbx), %ebx", "r4+0")                                                                                   \
    X(0, "movq (%rbx), %r11", "r8+0")                                                                                   \
    X(0, "movzbl (%rbx), %eax", "r1+0")                                                                                 \
    X(0, "movzbw 3(%rbx), %dx", "r1+3")                                                                                 \
    X(0, "movzwl (%rbx), %eax", "r2+0")                                                                                 \
    X(0, "movzwq (%rbx), %r8", "r2+0")                                                                                  \
    X(0, "movsbl 7(%rbx), %eax", "r1+7")                                                                                \
    X(0, "movsbq 7(%rbx), %rax", "r1+7")                                                                                \
    X(0, "movswl 6(%rbx), %eax", "r2+6")                                                                                \
    X(0, "movslq 4(%rbx), %rax", "r4+4")                                                                                \
    X(AVX, "movbe (%rbx), %rax", "r8+0")                                                                                  \
    X(0, "pushq (%rbx); popq %rax", "r8+0")                                                                             \
    X(0, "cmovcl (%rbx), %eax", "r4+0")                                                                                 \
    X(0, "cmovncl (%rbx), %eax", "r4+0")                                                                                \
    /* Addresses. */                                                                                                    \
    X(0, "movl %eax, 64(%rbp)", "w4+0")                                                                                 \
    X(0, "movl %eax, -0x1000+0x1008(%rbx)", "w4+8")                                                                     \
    X(0, "movl 0x100(%rbx), %eax", "r4+256")                                                                            \
    X(0, "movl (%rbx,%rcx,4), %eax", "r4+12")                                                                           \
    X(0, "movl %eax, 8(%rbx,%rcx,8)", "w4+32")                                                                          \
    X(0, "movl (%r12), %eax", "r4+0")                                                                                   \
    X(0, "movl (%r13), %eax", "r4+0")                                                                                   \
    X(0, "movl $7, 4(%r13,%rcx,4)", "w4+16")                                                                            \
    X(0, "movl %ds:(%rbx), %eax", "r4+0")                                                                               \
    X(0, "movl (%ebx), %eax", "r4+0")                                                                                   \
    X(0, "movl $9, 4(%ebx,%ecx,4)", "w4+16")                                                                            \
    /* Operands that are no natural access: in pieces. */                                                               \
    X(0, "movl %edx, 2(%rbx)", "w2+2 w2+4")                                                                             \
    X(0, "movl 1(%rbx), %eax", "r1+1 r2+2 r1+4")                                                                        \
    X(0, "movq 4(%rbx), %rax", "r4+4 r4+8")                                                                             \
    /* Read, change, write. */                                                                                          \
    X(0, "orl %eax, (%rbx)", "r4+0 w4+0")                                                                               \
    X(0, "orl $0x80, (%rbx)", "r4+0 w4+0")                                                                              \
    X(0, "orb $0x80, (%rbx)", "r1+0 w1+0")                                                                              \
    X(0, "andl $-2, (%rbx)", "r4+0 w4+0")                                                                               \
    X(0, "andw %dx, (%rbx)", "r2+0 w2+0")                                                                               \
    X(0, "xorq %rdx, (%rbx)", "r8+0 w8+0")                                                                              \
    X(0, "addl %edx, (%rbx)", "r4+0 w4+0")                                                                              \
    X(0, "addb $1, (%rbx)", "r1+0 w1+0")                                                                                \
    X(0, "adcl %edx, (%rbx)", "r4+0 w4+0")                                                                              \
    X(0, "sbbq %rdx, (%rbx)", "r8+0 w8+0")                                                                              \
    X(0, "subw $5, (%rbx)", "r2+0 w2+0")                                                                                \
    X(0, "incl (%rbx)", "r4+0 w4+0")                                                                                    \
    X(0, "decb (%rbx)", "r1+0 w1+0")                                                                                    \
    X(0, "negl (%rbx)", "r4+0 w4+0")                                                                                    \
    X(0, "notw (%rbx)", "r2+0 w2+0")                                                                                    \
    X(0, "shll $3, (%rbx)", "r4+0 w4+0")                                                                                \
    X(0, "sarl %cl, (%rbx)", "r4+0 w4+0")                                                                               \
    X(0, "shrq (%rbx)", "r8+0 w8+0")                                                                                    \
    X(0, "rolb $1, (%rbx)", "r1+0 w1+0")                                                                                \
    X(0, "rcll %cl, (%rbx)", "r4+0 w4+0")                                                                               \
    X(0, "shldl $4, %edx, (%rbx)", "r4+0 w4+0")                                                                         \
    X(0, "btsl $5, (%rbx)", "r4+0 w4+0")                                                                                \
    X(0, "btl $5, (%rbx)", "r4+0")                                                                                      \
    X(0, "xchgl %edx, (%rbx)", "r4+0 w4+0")                                                                             \
    X(0, "xchgb %dh, (%rbx)", "r1+0 w1+0")                                                                              \
    X(0, "lock orl %eax, (%rbx)", "r4+0 w4+0")                                                                          \
    X(0, "lock andq $-16, (%rbx)", "r8+0 w8+0")                                                                         \
    X(0, "lock incw (%rbx)", "r2+0 w2+0")                                                                               \
    X(0, "lock xaddl %edx, (%rbx)", "r4+0 w4+0")                                                                        \
    X(0, "lock btrl $2, (%rbx)", "r4+0 w4+0")                                                                           \
    X(0, "lock cmpxchgl %edx, (%rbx)", "r4+0 w4+0")                                                                     \
    X(0, "movl (%rbx), %eax; lock cmpxchgl %edx, (%rbx)", "r4+0 r4+0 w4+0")                                             \
    X(0, "lock cmpxchg8b (%rbx)", "r8+0 w8+0")                                                                          \
    X(0, "lock cmpxchg16b (%rbx)", "r8+0 r8+8 w8+0 w8+8")                                                               \
    /* Arithmetic on what is read. */                                                                                   \
    X(0, "addl (%rbx), %eax", "r4+0")                                                                                   \
    X(0, "adcq (%rbx), %rax", "r8+0")                                                                                   \
    X(0, "andb (%rbx), %dh", "r1+0")                                                                                    \
    X(0, "orw (%rbx), %dx", "r2+0")                                                                                     \
    X(0, "xorl (%rbx), %r10d", "r4+0")                                                                                  \
    X(0, "cmpl (%rbx), %eax", "r4+0")                                                                                   \
    X(0, "cmpb $3, (%rbx)", "r1+0")                                                                                     \
    X(0, "cmpw $0x1234, (%rbx)", "r2+0")                                                                                \
    X(0, "testl $0x80, (%rbx)", "r4+0")                                                                                 \
    X(0, "testb %al, (%rbx)", "r1+0")                                                                                   \
    X(0, "imull (%rbx), %eax", "r4+0")                                                                                  \
    X(0, "imull $100, (%rbx), %eax", "r4+0")                                                                            \
    X(0, "mull (%rbx)", "r4+0")                                                                                         \
    X(0, "popcntl (%rbx), %eax", "r4+0")                                                                                \
    X(0, "bsfl (%rbx), %eax", "r4+0")                                                                                   \
    X(0, "crc32l (%rbx), %eax", "r4+0")                                                                                 \
    /* Vector moves, and arithmetic with a vector operand. */                                                           \
    X(0, "movd %xmm1, (%rbx)", "w4+0")                                                                                  \
    X(0, "movd (%rbx), %xmm1", "r4+0")                                                                                  \
    X(0, "movq %xmm1, (%rbx)", "w8+0")                                                                                  \
    X(0, "movq (%rbx), %xmm2", "r8+0")                                                                                  \
    X(0, "movss (%rbx), %xmm0", "r4+0")                                                                                 \
    X(0, "movss %xmm0, (%rbx)", "w4+0")                                                                                 \
    X(0, "movsd (%rbx), %xmm0", "r8+0")                                                                                 \
    X(0, "movsd %xmm3, (%rbx)", "w8+0")                                                                                 \
    X(0, "movlps (%rbx), %xmm0", "r8+0")                                                                                \
    X(0, "movhps (%rbx), %xmm0", "r8+0")                                                                                \
    X(0, "movhpd %xmm1, (%rbx)", "w8+0")                                                                                \
    X(0, "movups %xmm1, (%rbx)", "w8+0 w8+8")                                                                           \
    X(0, "movaps (%rbx), %xmm1", "r8+0 r8+8")                                                                           \
    X(0, "movdqu (%rbx), %xmm3", "r8+0 r8+8")                                                                           \
    X(0, "movdqa %xmm3, (%rbx)", "w8+0 w8+8")                                                                           \
    X(0, "movntdq %xmm3, (%rbx)", "w8+0 w8+8")                                                                          \
    X(0, "movntps %xmm3, (%rbx)", "w8+0 w8+8")                                                                          \
    X(0, "pextrd $2, %xmm1, (%rbx)", "w4+0")                                                                            \
    X(0, "pinsrd $1, (%rbx), %xmm1", "r4+0")                                                                            \
    X(0, "paddd (%rbx), %xmm2", "r8+0 r8+8")                                                                            \
    X(0, "cvtsi2sdl (%rbx), %xmm0", "r4+0")                                                                             \
    X(0, "fldl (%rbx); fstpl 8(%rbx)", "r8+0 w8+8")                                                                     \
    X(0, "movq (%rbx), %mm0; movq %mm0, 8(%rbx); emms", "r8+0 w8+8")                                                    \
    X(AVX, "vmovd %xmm1, (%rbx)", "w4+0")                                                                               \
    X(AVX, "vmovdqu (%rbx), %xmm1", "r8+0 r8+8")                                                                        \
    X(AVX, "vmovdqu %ymm1, (%rbx)", "w8+0 w8+8 w8+16 w8+24")                                                            \
    X(AVX, "vmovdqa (%rbx), %ymm2", "r8+0 r8+8 r8+16 r8+24")                                                            \
    X(AVX, "vmovups (%r12,%rcx,8), %ymm2", "r8+24 r8+32 r8+40 r8+48")                                                   \
    X(AVX, "vmovntdq %ymm3, (%rbx)", "w8+0 w8+8 w8+16 w8+24")                                                           \
    X(AVX, "vpbroadcastd (%rbx), %ymm0", "r4+0")                                                                        \
    X(AVX, "vpaddd (%rbx), %ymm1, %ymm2", "r8+0 r8+8 r8+16 r8+24")                                                      \
    X(AVX512, "vmovdqu64 (%rbx), %zmm1", "r8+0 r8+8 r8+16 r8+24 r8+32 r8+40 r8+48 r8+56")                               \
    X(AVX512, "vmovdqu64 %zmm2, 64(%rbx)", "w8+64 w8+72 w8+80 w8+88 w8+96 w8+104 w8+112 w8+120")                        \
    X(AVX512, "vpaddd (%rbx){1to16}, %zmm1, %zmm2", "r4+0")                                                             \
    X(AVX512, "vmovdqu32 (%rbx), %zmm16; vmovdqa64 %zmm16, %zmm3", "r8+0 r8+8 r8+16 r8+24 r8+32 r8+40 r8+48 r8+56")     \
    /* Strings: RSI is the device's, RDI memory. */                                                                     \
    X(0, "lodsb", "r1+0")                                                                                               \
    X(0, "lodsl", "r4+0")                                                                                               \
    X(0, "lodsq", "r8+0")                                                                                               \
    X(0, "movsb", "r1+0")                                                                                               \
    X(0, "movsw", "r2+0")                                                                                               \
    X(0, "movsl", "r4+0")                                                                                               \
    X(0, "movsq", "r8+0")                                                                                               \
    X(0, "rep movsb", "r1+0 r1+1 r1+2")                                                                                 \
    X(0, "rep movsl", "r4+0 r4+4 r4+8")                                                                                 \
    X(0, "std; rep movsl; cld", "r4+0 r4-4 r4-8")                                                                       \
    X(0, "xchg %rsi, %rdi; rep movsw", "w2+0 w2+2 w2+4")                                                                \
    X(0, "movq %rsi, %rdi; stosb", "w1+0")                                                                              \
    X(0, "movq %rsi, %rdi; stosq", "w8+0")                                                                              \
    X(0, "movq %rsi, %rdi; rep stosl", "w4+0 w4+4 w4+8")                                                                \
    X(0, "leaq 64(%rsi), %rdi; rep movsq", "r8+0 w8+64 r8+8 w8+72 r8+16 w8+80")

/* Per-instruction-class cycle micro-benchmarks for an RV32IMAC(+Zba/Zbb/Zbs)
 * core.  Each case times a straight-line block (or a small loop) between two
 * adjacent-CSR stamps:
 *     csrr s2,minstret ; csrr s3,mcycle ; BODY ; csrr s4,mcycle ; csrr s5,minstret
 * and prints one line
 *     MB,<case>,<groups>,<raw instret delta hex>,<raw mcycle delta hex>,<documented cycles per group>
 * The case "empty" (no body) is the overhead; run.py subtracts it.
 * Platform: -DPLAT_H3  RAM at 0, reset at 0x40, putc = sw 0x80000000, exit = sw 0x80000008
 *           -DPLAT_V   RAM at 0x80000000, putc = sb 0x10000000, exit via 0x100000 / tohost
 * -DNO_ZB drops the bit-manipulation cases.
 * s1 = scratch buffer, x5-x7,x8,x10-x15,x28-x31 free for bodies.               */

	.option norvc
	.option norelax
	.section .text.pad, "ax"
	j	_start
	.org	0x40
	j	_start
	.section .text.start, "ax"
	.globl	_start

#ifdef PLAT_H3
	.macro PUTC_A0
	li	t6, 0x80000000
	sw	a0, 0(t6)
	.endm
	.macro FINISH
	li	t6, 0x80000008
	sw	zero, 0(t6)
	.endm
#else
	.macro PUTC_A0
	li	t6, 0x10000000
	sb	a0, 0(t6)
	.endm
	.macro FINISH
	la	t6, tohost
	li	t5, 1
	sw	t5, 0(t6)
	sw	zero, 4(t6)
	la	t6, spin
	csrw	mtvec, t6
	li	t6, 0x100000
	li	t5, 0x5555
	sw	t5, 0(t6)
	.endm
	.section .htif, "aw"
	.p2align 6
	.globl tohost, fromhost
tohost:	.dword 0
	.p2align 6
fromhost: .dword 0
	.text
#endif

/* ---- framework ---------------------------------------------------------- */
	.macro START name, n, doc
	.pushsection .rodata
nm_\name: .asciz "\name"
dc_\name: .asciz "\doc"
	.popsection
	.option push
	.option rvc
	.p2align 4
	.option norvc
	nop
	nop
	nop
	nop
	csrr	s2, minstret
	csrr	s3, mcycle
	.option pop
	.endm

	.macro STOP name, n
	.option push
	.option norvc
	csrr	s4, mcycle
	csrr	s5, minstret
	nop
	la	a0, nm_\name
	la	a1, dc_\name
	li	a2, \n
	call	report
	.option pop
	.endm

	/* T: body assembled without compression; TC: with compression allowed */
	.macro T name, n, doc, body
	START	\name, \n, "\doc"
	.rept	\n
	\body
	.endr
	STOP	\name, \n
	.endm
	.macro TC name, n, doc, body
	.option push
	.option rvc
	START	\name, \n, "\doc"
	.rept	\n
	\body
	.endr
	.option pop
	STOP	\name, \n
	.endm
	/* L: loop of \n iterations, counter t3 (x28) preset */
	.macro V a, b
	li	x6, \a
	li	x7, \b
	.endm

	.section .text.start
_start:
	la	t0, 1f
	csrw	mtvec, t0
	csrw	mcountinhibit, zero
	.p2align 2
1:	la	t0, badtrap
	csrw	mtvec, t0
	la	sp, __stack_top
	la	s1, buf
	j	cases

	.p2align 2
badtrap:
	csrr	a0, mcause
	call	puthex
	li	a0, '!'
	PUTC_A0
	FINISH
	.p2align 2
spin:	j	spin

puts:	/* a1 = string */
	lbu	a0, 0(a1)
	beqz	a0, 1f
	PUTC_A0
	addi	a1, a1, 1
	j	puts
1:	ret
comma:	li	a0, ','
	PUTC_A0
	ret
puthex:	/* a0 = value, 8 digits */
	mv	a1, a0
	li	a2, 8
1:	srli	a0, a1, 28
	li	a3, 10
	addi	a0, a0, '0'
	addi	a3, a3, '0'
	blt	a0, a3, 2f
	addi	a0, a0, 'a' - '0' - 10
2:	PUTC_A0
	slli	a1, a1, 4
	addi	a2, a2, -1
	bnez	a2, 1b
	ret
report:	/* a0 name, a1 doc, a2 groups */
	addi	sp, sp, -32
	sw	ra, 0(sp)
	sw	a0, 4(sp)
	sw	a1, 8(sp)
	sw	a2, 12(sp)
	la	a1, tag
	call	puts
	lw	a1, 4(sp)
	call	puts
	call	comma
	lw	a0, 12(sp)
	call	puthex
	call	comma
	sub	a0, s5, s2
	call	puthex
	call	comma
	sub	a0, s4, s3
	call	puthex
	call	comma
	lw	a1, 8(sp)
	call	puts
	li	a0, '\n'
	PUTC_A0
	lw	ra, 0(sp)
	addi	sp, sp, 32
	la	s1, buf
	ret

	.section .rodata
tag:	.asciz	"MB,"
	.text

/* ---- cases --------------------------------------------------------------- */
cases:
	START empty, 1, "0"
	STOP empty, 1
	/* straight-line ALU */
	V 5, 7
	T  nop32, 64, "1", "nop"
	TC nop16, 64, "1", "c.nop"
	T  add_independent, 64, "1", "add x5,x6,x7"
	T  add_dependent_chain, 64, "1", "add x5,x5,x7"
	T  addi_dependent_chain, 64, "1", "addi x5,x5,1"
	TC c_add_dependent_chain, 64, "1", "c.add x5,x7"
	TC c_addi_dependent_chain, 64, "1", "c.addi x5,1"
	TC c_mv_independent, 64, "1", "c.mv x5,x7"
	TC c_li_independent, 64, "1", "c.li x5,3"
	T  sub_dependent, 64, "1", "sub x5,x5,x7"
	T  and_dependent, 64, "1", "and x5,x5,x7"
	T  xor_dependent, 64, "1", "xor x5,x5,x7"
	T  slt_dependent, 64, "1", "slt x5,x5,x7"
	T  sltu_dependent, 64, "1", "sltu x5,x5,x7"
	T  sll_dependent, 64, "1", "sll x5,x5,x7"
	T  srl_dependent, 64, "1", "srl x5,x5,x7"
	T  sra_dependent, 64, "1", "sra x5,x5,x7"
	T  slli_dependent, 64, "1", "slli x5,x5,1"
	T  srai_dependent, 64, "1", "srai x5,x5,1"
	T  lui, 64, "1", "lui x5,0x12345"
	T  auipc, 64, "1", "auipc x5,0"

	/* straight-line alignment: no branch, so no penalty is documented */
	TC mix_16_then_unaligned_32, 32, "2", "c.nop; .option norvc; add x5,x6,x7; .option rvc"
	START unaligned_32_run, 64, "1"
	.option rvc
	c.nop
	.option norvc
	.rept 64
	add x5,x6,x7
	.endr
	.option rvc
	c.nop
	.option norvc
	STOP unaligned_32_run, 66

	/* multiply */
	V 12345, 678
	T  mul_independent, 64, "1", "mul x5,x6,x7"
	T  mul_dependent_chain, 64, "1", "mul x5,x5,x7"
	T  mul_use_pair, 32, "2", "mul x5,x6,x7; add x8,x5,x7"
	T  mul_x0_dest, 64, "1", "mul x0,x6,x7"
	T  mul_then_load_address, 32, "2", "mul x5,x0,x7; lw x8,0(s1)"
	V -12345, 0x7fffffff
	T  mulh_independent, 64, "1", "mulh x5,x6,x7"
	T  mulh_dependent_chain, 64, "1", "mulh x5,x5,x7"
	T  mulhu_independent, 64, "1", "mulhu x5,x6,x7"
	T  mulhu_dependent_chain, 64, "1", "mulhu x5,x5,x7"
	T  mulhsu_independent, 64, "1", "mulhsu x5,x6,x7"
	T  mul_mulh_pair, 32, "2", "mulh x5,x6,x7; mul x8,x6,x7"

	/* divide: operand magnitudes and signs */
	.macro DV tag, a, b
	V \a, \b
	T  div_\tag,  16, "18 or 19", "div x5,x6,x7"
	T  rem_\tag,  16, "18 or 19", "rem x5,x6,x7"
	T  divu_\tag, 16, "18", "divu x5,x6,x7"
	T  remu_\tag, 16, "18", "remu x5,x6,x7"
	.endm
	DV 0_by_1, 0, 1
	DV 1_by_1, 1, 1
	DV 100_by_7, 100, 7
	DV 7_by_100, 7, 100
	DV max_by_3, 0x7fffffff, 3
	DV max_by_max, 0x7fffffff, 0x7fffffff
	DV m100_by_7, -100, 7
	DV 100_by_m7, 100, -7
	DV m100_by_m7, -100, -7
	DV m1_by_1, -1, 1
	DV min_by_m1, 0x80000000, -1
	DV min_by_1, 0x80000000, 1
	DV 100_by_0, 100, 0
	DV m100_by_0, -100, 0
	DV 0_by_0, 0, 0
	V 100, 7
	T  div_use_pair, 16, "-", "div x5,x6,x7; add x8,x5,x7"
	T  div_dependent_chain, 16, "-", "div x6,x6,x7"
	V 100, 7
	T  div_rem_pair, 16, "-", "div x5,x6,x7; rem x8,x6,x7"
	T  div_x0_dest, 16, "18 or 19", "div x0,x6,x7"
	T  load_then_div_use, 16, "-", "lw x7,0(s1); divu x5,x6,x7"

	/* loads and stores */
	la	s1, buf
	T  lw_independent, 64, "1", "lw x5,0(s1)"
	T  lh_independent, 64, "1", "lh x5,2(s1)"
	T  lhu_independent, 64, "1", "lhu x5,2(s1)"
	T  lb_independent, 64, "1", "lb x5,3(s1)"
	T  lbu_independent, 64, "1", "lbu x5,3(s1)"
	TC c_lw_independent, 64, "1", "c.lw x10,0(x9)"
	TC c_lwsp_independent, 64, "1", "c.lwsp x10,0(sp)"
	T  lw_use_pair, 32, "3", "lw x5,0(s1); add x6,x5,x7"
	T  lbu_use_pair, 32, "3", "lbu x5,1(s1); add x6,x5,x7"
	TC c_lw_use_pair, 32, "3", "c.lw x10,0(x9); c.add x11,x10"
	T  lw_gap1_use, 32, "3", "lw x5,0(s1); addi x6,x6,1; add x8,x5,x7"
	T  lw_use_as_rs2, 32, "3", "lw x5,0(s1); add x6,x7,x5"
	T  lw_x0_then_use_x0, 32, "2", "lw x0,0(s1); add x6,x0,x7"
	T  lw_waw_same_rd, 32, "2", "lw x5,0(s1); addi x5,x7,1"
	la	x5, chase
	T  lw_pointer_chase, 64, "2", "lw x5,0(x5)"
	T  lw_to_store_data, 32, "2", "lw x5,0(s1); sw x5,4(s1)"
	la	x6, chase
	T  lw_to_store_address, 32, "3", "lw x5,0(x6); sw x7,4(x5)"
	T  lw_to_branch_not_taken, 32, "3", "lw x5,0(s1); bne x5,x5,.+8"
	T  lw_to_mul, 32, "3", "lw x5,0(s1); mul x6,x5,x7"
	T  lw_to_csrw, 32, "3", "lw x5,0(s1); csrw mscratch,x5"
	T  sw, 64, "1", "sw x7,0(s1)"
	T  sh, 64, "1", "sh x7,2(s1)"
	T  sb, 64, "1", "sb x7,3(s1)"
	TC c_sw, 64, "1", "c.sw x10,0(x9)"
	TC c_swsp, 64, "1", "c.swsp x10,0(sp)"
	T  alu_to_store_data, 32, "2", "addi x5,x5,1; sw x5,0(s1)"
	T  alu_to_store_address, 32, "2", "addi x8,s1,4; sw x7,0(x8)"
	T  sw_lw_same_address, 32, "2", "sw x7,0(s1); lw x5,0(s1)"
	T  sw_lw_same_address_use, 32, "4", "sw x7,0(s1); lw x5,0(s1); add x6,x5,x7"
	T  sw_lw_other_address, 32, "2", "sw x7,0(s1); lw x5,32(s1)"
	T  sb_lw_same_word, 32, "2", "sb x7,1(s1); lw x5,0(s1)"
	T  lw_sw_alternating, 32, "2", "lw x5,32(s1); sw x7,0(s1)"

	/* conditional branches, 32-bit encodings, word-aligned targets */
	V 5, 7
	T  br_not_taken_forward, 64, "1", "beq x6,x7,.+8"
	T  br_not_taken_backward, 64, "1", "beq x6,x7,.-8"
	T  br_taken_forward_skip1, 64, "2", "bne x6,x7,.+8; nop"
	T  br_taken_forward_next, 64, "2", "bne x6,x7,.+4"
	T  br_taken_forward_far, 16, "2", "bne x6,x7,.+64; .space 60"
	T  blt_taken_forward, 64, "2", "blt x6,x7,.+8; nop"
	T  bltu_taken_forward, 64, "2", "bltu x6,x7,.+8; nop"
	T  bge_taken_forward, 64, "2", "bge x7,x6,.+8; nop"
	T  bgeu_taken_forward, 64, "2", "bgeu x7,x6,.+8; nop"
	T  alu_to_branch_taken, 32, "3", "addi x6,x6,0; bne x6,x7,.+8; nop"
	/* alignment of the target */
	TC br_taken_to_unaligned_32, 32, "5", ".option norvc; bne x6,x7,1f; .option rvc; c.nop; .option norvc; 1: add x5,x6,x7; .option rvc; c.nop"
	TC br_taken_to_unaligned_16, 32, "4", ".option norvc; bne x6,x7,1f; .option rvc; c.nop; 1: c.nop; .option norvc; add x5,x6,x7; .option rvc"
	TC br_taken_to_aligned_16_16, 32, "4", ".option norvc; bne x6,x7,1f; nop; .option rvc; 1: c.nop; c.nop"
	li	x8, 0
	TC c_beqz_taken_forward_aligned, 64, "2", "c.beqz x8,1f; c.nop; 1:"
	TC c_beqz_taken_forward_16_target_unaligned, 32, "3", "c.beqz x8,1f; c.nop; c.nop; 1: c.nop"
	TC c_bnez_not_taken, 64, "1", "c.bnez x8,.+4"

	/* backward branches that never repeat: 32 blocks laid out in reverse */
	V 5, 7
	j	2f
	.p2align 4
	.set k, 32
	.altmacro
	.macro BK2 a, b
blk_\a:	bne	x6, x7, blk_\b
	nop
	.endm
	.macro BK a, b
	BK2 \a, \b
	.endm
	.rept 32
	BK %k, %(k+1)
	.set k, k-1
	.endr
	.noaltmacro
2:	START br_taken_backward_first_time, 32, "2"
	j	blk_1
blk_33:	STOP br_taken_backward_first_time, 33

	/* loops: one backward branch, predicted after the first taken execution */
	.macro LP name, iters, doc, align, opt, pre, body
	li	x28, \iters
	li	x10, \iters
	START \name, \iters, "\doc"
	.option push
	.option \opt
	\pre
1:	\body
	.option pop
	STOP \name, \iters
	.endm
	LP loop_addi_bnez_32_aligned, 256, "2", 4, norvc, "nop", "addi x28,x28,-1; bnez x28,1b"
	LP loop_3nop_addi_bnez_32_aligned, 256, "5", 4, norvc, "nop", "nop; nop; nop; addi x28,x28,-1; bnez x28,1b"
	LP loop_bnez_only_depends_on_addi_4alu, 256, "6", 4, norvc, "nop", "addi x28,x28,-1; nop; nop; nop; nop; bnez x28,1b"
	LP loop_c_addi_c_bnez_aligned, 256, "2", 4, rvc, "", "c.addi x10,-1; c.bnez x10,1b"
	LP loop_c_addi_c_bnez_unaligned, 256, "2", 4, rvc, "c.nop", "c.addi x10,-1; c.bnez x10,1b"
	LP loop_c_nop2_c_addi_c_bnez_aligned, 256, "4", 4, rvc, "", "c.nop; c.nop; c.addi x10,-1; c.bnez x10,1b"
	LP loop_c_nop1_c_addi_c_bnez_aligned, 256, "3", 4, rvc, "", "c.nop; c.addi x10,-1; c.bnez x10,1b"
	LP loop_c_nop1_c_addi_c_bnez_unaligned, 256, "3", 4, rvc, "c.nop", "c.nop; c.addi x10,-1; c.bnez x10,1b"
	LP loop_32bit_branch_overhanging_word, 256, "3", 4, rvc, "", "c.addi x10,-1; .option norvc; nop; bnez x10,1b; .option rvc; c.nop"
	LP loop_target_unaligned_32, 256, "4", 4, rvc, "c.nop", ".option norvc; add x5,x6,x7; .option rvc; c.nop; c.addi x10,-1; c.bnez x10,1b"
	LP loop_lw_addi_bnez, 256, "3", 4, norvc, "nop", "lw x5,0(s1); addi x28,x28,-1; bnez x28,1b"
	LP loop_sw_addi_bnez, 256, "3", 4, norvc, "nop", "sw x5,0(s1); addi x28,x28,-1; bnez x28,1b"
	/* forward not-taken exit test + jal back */
	LP loop_beqz_exit_jal_back, 256, "4", 4, norvc, "nop", "addi x28,x28,-1; beqz x28,2f; j 1b; 2: nop"
	/* prediction corner cases */
	LP loop_32_addi_bnez_unaligned, 256, "2", 4, rvc, "c.nop", ".option norvc; addi x10,x10,-1; bnez x10,1b; .option rvc; c.nop"
	LP loop_c_addi_32_bnez_6bytes_aligned, 256, "2", 4, rvc, "", "c.addi x10,-1; .option norvc; bnez x10,1b; .option rvc; c.nop"
	LP loop_32_addi_c_bnez_6bytes_aligned, 256, "2", 4, rvc, "", ".option norvc; addi x10,x10,-1; .option rvc; c.bnez x10,1b; c.nop"
	LP loop_32_addi_c_bnez_6bytes_unaligned, 256, "2", 4, rvc, "c.nop", ".option norvc; addi x10,x10,-1; .option rvc; c.bnez x10,1b"
	LP loop_jump_onto_backedge_word, 256, "4", 4, norvc, "nop", "addi x28,x28,-1; beqz x0,2f; nop; 2: bnez x28,1b"
	LP loop_ret_onto_backedge_word, 256, "6", 4, norvc, "addi x28,x28,1", "addi x28,x28,-1; jal ra,leaf; bnez x28,1b"
	LP loop_lw_use_backedge, 256, "5", 4, norvc, "nop", "lw x5,0(s1); add x6,x5,x7; addi x28,x28,-1; bnez x28,1b"
	LP loop_lw_use_by_branch, 256, "6", 4, norvc, "nop", "addi x28,x28,-1; lw x5,0(s1); beq x5,x5,2f; nop; 2: bnez x28,1b"
	LP loop_fence_i_in_body, 256, "-", 4, norvc, "nop", "addi x28,x28,-1; fence.i; nop; nop; bnez x28,1b"
	LP loop_taken_bgeu_backward, 256, "2", 4, norvc, "nop", "addi x28,x28,-1; bltu x0,x28,1b"
	LP loop_div_backedge, 64, "20", 4, norvc, "nop", "divu x5,x6,x7; addi x28,x28,-1; bnez x28,1b"
	/* two backward branches alternate, each taken once per outer iteration */
	li	x28, 64
	START loop_two_backedges, 64, "-"
	j	3f
1:	nop
	j	4f
2:	nop
3:	addi	x28, x28, -1
	bnez	x28, 1b
	j	5f
4:	nop
	bnez	x28, 2b
5:	STOP loop_two_backedges, 64
	/* two different backward branches per iteration: the single BTB entry thrashes */
	li	x28, 64
	START nested_loop_inner2, 64, "-"
1:	li	x29, 2
2:	addi	x29, x29, -1
	bnez	x29, 2b
	addi	x28, x28, -1
	bnez	x28, 1b
	STOP nested_loop_inner2, 64
	li	x28, 64
	START nested_loop_inner8, 64, "-"
1:	li	x29, 8
2:	addi	x29, x29, -1
	bnez	x29, 2b
	addi	x28, x28, -1
	bnez	x28, 1b
	STOP nested_loop_inner8, 64
	/* inner trip count 1: predicted-taken entry is never (re)allocated for the inner branch */
	li	x28, 64
	START nested_loop_inner1, 64, "-"
1:	li	x29, 1
2:	addi	x29, x29, -1
	bnez	x29, 2b
	addi	x28, x28, -1
	bnez	x28, 1b
	STOP nested_loop_inner1, 64
	/* a taken forward branch inside a predicted loop */
	li	x28, 256
	START loop_with_taken_forward, 256, "5"
1:	addi	x28, x28, -1
	beqz	x0, 2f
	nop
2:	nop
	bnez	x28, 1b
	STOP loop_with_taken_forward, 256
	/* backward jal is not predicted */
	li	x28, 256
	START loop_call_ret, 256, "6"
1:	jal	ra, leaf
	addi	x28, x28, -1
	bnez	x28, 1b
	STOP loop_call_ret, 256

	/* jumps */
	T  jal_forward_next, 64, "2", "jal x0,.+4"
	T  jal_forward_skip1, 64, "2", "jal x5,.+8; nop"
	TC c_j_forward_aligned, 64, "2", "c.j 1f; c.nop; 1:"
	TC c_j_forward_16_target_unaligned, 32, "3", "c.j 1f; c.nop; c.nop; 1: c.nop"
	TC jal_to_unaligned_32, 32, "5", ".option norvc; jal x5,1f; .option rvc; c.nop; .option norvc; 1: add x5,x6,x7; .option rvc; c.nop"
	T  jal_ret_aligned_leaf, 32, "4", "jal ra,leaf"
	T  jal_ret_unaligned16_leaf, 32, "4", "jal ra,leaf16u"
	T  jal_ret_unaligned32_leaf, 32, "5", "jal ra,leaf32u"
	T  auipc_jalr_next, 32, "3", "auipc x5,0; jalr x0,8(x5)"
	T  lw_jalr_dependent, 16, "-", "auipc x5,0; addi x5,x5,20; sw x5,0(s1); lw x6,0(s1); jalr x0,0(x6)"
	la	x5, leaf
	T  jalr_ret, 32, "4", "jalr ra,0(x5)"
	la	x5, leaf
	TC c_jalr_ret_seq, 32, "-", "c.jalr x5"
	j	2f
	.p2align 2
	.option norvc
leaf:	ret
	.option rvc
	c.nop
leaf16u: c.jr ra
	.option norvc
	.p2align 2
	.option rvc
	c.nop
	.option norvc
leaf32u: jalr x0, 0(ra)
	.option rvc
	c.nop
	.option norvc
	.p2align 2
2:
	/* CSRs */
	T  csrr_mcycle, 64, "1", "csrr x5,mcycle"
	T  csrr_minstret, 64, "1", "csrr x5,minstret"
	T  csrr_mscratch, 64, "1", "csrr x5,mscratch"
	T  csrr_use_pair, 32, "2", "csrr x5,mscratch; add x6,x5,x7"
	T  csrw_mscratch, 64, "1", "csrw mscratch,x7"
	T  csrrw_mscratch_chain, 64, "1", "csrrw x5,mscratch,x5"
	T  csrrs_mscratch, 64, "1", "csrrs x5,mscratch,x7"
	T  csrrc_mscratch, 64, "1", "csrrc x5,mscratch,x7"
	T  csrrwi_mscratch, 64, "1", "csrrwi x5,mscratch,3"
	T  csrw_csrr_mscratch, 32, "2", "csrw mscratch,x7; csrr x5,mscratch"
	T  csrsi_mstatus_mie_clear, 64, "1", "csrci mstatus,8"
	csrr	x10, mtvec
	T  csrw_mtvec, 64, "1", "csrw mtvec,x10"
	T  csrw_mepc, 64, "1", "csrw mepc,x10"
	T  csrw_mie_zero, 64, "1", "csrw mie,x0"
	T  csrr_mip, 64, "1", "csrr x5,mip"
	T  csrr_misa, 64, "1", "csrr x5,misa"

	/* atomics */
	V 5, 7
	T  lr_w, 64, "2", "lr.w x5,(s1)"
	T  lr_then_alu_independent, 32, "2", "lr.w x5,(s1); addi x6,x6,1"
	T  lr_use, 32, "3", "lr.w x5,(s1); add x6,x5,x7"
	T  sc_w_fail, 64, "2", "sc.w x5,x7,(s1)"
	T  lr_sc_pair, 32, "4", "lr.w x5,(s1); sc.w x6,x7,(s1)"
	T  lr_alu_sc, 32, "-", "lr.w x5,(s1); addi x8,x8,1; sc.w x6,x7,(s1)"
	T  lr_add_use_sc_bnez, 32, "-", "lr.w x5,(s1); add x8,x5,x7; sc.w x6,x8,(s1); bnez x6,.+4"
	T  lr_sc_alu_independent, 32, "-", "lr.w x5,(s1); sc.w x6,x7,(s1); addi x8,x8,1"
	T  lr_then_lw, 32, "-", "lr.w x5,(s1); lw x6,4(s1)"
	T  sc_then_lw, 32, "-", "sc.w x5,x7,(s1); lw x6,4(s1)"
	.macro AM op
	T  \op\()_w, 32, "4", "\op\().w x5,x7,(s1)"
	.endm
	AM amoadd
	AM amoswap
	AM amoxor
	AM amoand
	AM amoor
	AM amomin
	AM amomax
	AM amominu
	AM amomaxu
	T  amoadd_use, 32, "-", "amoadd.w x5,x7,(s1); add x6,x5,x7"
	T  amoadd_then_alu, 32, "-", "amoadd.w x5,x7,(s1); addi x6,x6,1"
	T  amoadd_then_2alu, 32, "-", "amoadd.w x5,x7,(s1); addi x6,x6,1; addi x8,x8,1"
	T  amoadd_then_lw, 32, "-", "amoadd.w x5,x7,(s1); lw x6,4(s1)"
	T  amoadd_then_sw, 32, "-", "amoadd.w x5,x7,(s1); sw x6,4(s1)"
	T  lw_then_amoadd, 32, "-", "lw x6,4(s1); amoadd.w x5,x7,(s1)"
	T  sw_then_amoadd, 32, "-", "sw x6,4(s1); amoadd.w x5,x7,(s1)"
	T  alu_then_amoadd, 32, "-", "addi x6,x6,1; amoadd.w x5,x7,(s1)"
	T  amoadd_x0, 32, "4", "amoadd.w x0,x7,(s1)"
	la	x6, chase2
	T  lw_to_amo_address, 32, "-", "lw x8,0(x6); amoadd.w x5,x7,(x8)"
	T  lw_to_amo_data, 32, "-", "lw x8,0(s1); amoadd.w x5,x8,(s1)"

	/* fences */
	T  fence_rw_rw, 64, "-", "fence rw,rw"
	T  fence_all, 64, "-", "fence"
	T  lw_fence, 32, "-", "lw x5,0(s1); fence"
	T  sw_fence, 32, "-", "sw x7,0(s1); fence"
	T  fence_i, 64, "-", "fence.i"
	T  fence_i_nop, 32, "-", "fence.i; nop"
	T  fence_i_nop2, 32, "-", "fence.i; nop; nop"
	TC fence_i_then_unaligned_32, 32, "-", "c.nop; .option norvc; fence.i; add x5,x6,x7; .option rvc; c.nop"
	T  lw_fence_i, 32, "-", "lw x5,0(s1); fence.i"

	/* traps: the vector is moved to the next group, so the group is
	 * addi + csrw + trap (aligned vector; mtvec and mepc word aligned)      */
	.macro TR name, n, doc, insn, csr
	la	x5, g_\name
	START \name, \n, "\doc"
g_\name:
	.rept \n
	addi	x5, x5, 12
	csrw	\csr, x5
	\insn
	.endr
	STOP \name, \n
	.endm
	TR trap_ecall, 16, "5", "ecall", mtvec
	TR trap_ebreak, 16, "5", "ebreak", mtvec
	TR trap_illegal, 16, "-", ".word 0xffffffff", mtvec
	TR trap_load_misaligned, 16, "-", "lw x8,1(s1)", mtvec
	la	x5, badtrap
	csrw	mtvec, x5
	li	x6, 0x1800
	csrs	mstatus, x6
	la	x5, g_mret
	START mret, 16, "-"
g_mret:	.rept 16
	addi	x5, x5, 16
	csrw	mepc, x5
	csrs	mstatus, x6
	mret
	.endr
	STOP mret, 16
	/* ecall round trip through a normal handler: ecall + csrr + addi + csrw + mret */
	la	x5, hnd
	csrw	mtvec, x5
	T  ecall_roundtrip, 16, "-", "ecall"
	la	x5, badtrap
	csrw	mtvec, x5
	j	2f
	.p2align 2
hnd:	csrr	x5, mepc
	addi	x5, x5, 4
	csrw	mepc, x5
	mret
2:

#ifndef NO_ZB
	V 0x12345678, 7
	.macro RR op
	T  \op\()_independent, 64, "1", "\op x5,x6,x7"
	T  \op\()_dependent, 64, "1", "\op x5,x5,x7"
	.endm
	.macro RI op
	T  \op\()_dependent, 64, "1", "\op x5,x5,7"
	.endm
	.macro R1 op, nm
	T  \nm\()_dependent, 64, "1", "\op x5,x5"
	.endm
	RR sh1add
	RR sh2add
	RR sh3add
	RR andn
	RR orn
	RR xnor
	RR min
	RR max
	RR minu
	RR maxu
	RR rol
	RR ror
	RI rori
	R1 clz, clz
	R1 ctz, ctz
	R1 cpop, cpop
	R1 orc.b, orc_b
	R1 rev8, rev8
	R1 sext.b, sext_b
	R1 sext.h, sext_h
	R1 zext.h, zext_h
	RR bclr
	RR bext
	RR binv
	RR bset
	RI bclri
	RI bexti
	RI binvi
	RI bseti
	T  lw_sh2add_use, 32, "3", "lw x5,0(s1); sh2add x6,x5,x7"
	T  sh2add_to_load_address, 32, "2", "sh2add x8,x0,s1; lw x5,0(x8)"
#endif
	FINISH
1:	j	1b

	.data
	.p2align 4
buf:	.word 7, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
chase:	.word chase, 0
chase2:	.word buf, 0

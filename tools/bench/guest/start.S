/* Start and end of a benchmark's guest program, with PMP and a timer interrupt every 1,000 ticks of mtime. It needs what
 * QEMU's virt machine and the benchmark's hart both have: memory at 0x80000000, a CLINT at 0x02000000, and a register at
 * 0x00100000 that ends the run. */

	.equ	MTIMECMP, 0x02004000
	.equ	MTIME, 0x0200bff8
	.equ	INTERVAL, 1000
	.section .text.start, "ax"
	.globl _start
_start:
	la	sp, __stack_top
	/* Locked: code can't be written, and nothing but code executed. */
	la	t0, _start
	srli	t0, t0, 2
	csrw	pmpaddr0, t0
	la	t0, __text_end
	srli	t0, t0, 2
	csrw	pmpaddr1, t0
	li	t0, -1
	csrw	pmpaddr2, t0
	li	t0, 0x9b8d8b
	csrw	pmpcfg0, t0
	la	t0, trap
	csrw	mtvec, t0
	la	t0, __bss_start
	la	t1, __bss_end
1:	bgeu	t0, t1, 2f
	sw	zero, 0(t0)
	addi	t0, t0, 4
	j	1b
2:	call	rearm
	li	t0, 0x80
	csrw	mie, t0
	csrsi	mstatus, 8
	j	main

rearm:	/* next timer interrupt; changes t0 and t1 */
	li	t0, MTIME
	lw	t1, 0(t0)
	addi	t1, t1, INTERVAL
	li	t0, MTIMECMP
	sw	t1, 0(t0)
	sw	zero, 4(t0)
	ret

	.globl finish
finish:
	li	t0, 0x100000
	li	t1, 0x5555
	sw	t1, 0(t0)
3:	j	3b

	.p2align 2
trap:
	addi	sp, sp, -16
	sw	t0, 0(sp)
	sw	t1, 4(sp)
	sw	ra, 8(sp)
	csrr	t0, mcause
	li	t1, 0x80000007
	bne	t0, t1, unexpected
	call	rearm
	la	t0, interrupts
	lw	t1, 0(t0)
	addi	t1, t1, 1
	sw	t1, 0(t0)
	lw	t0, 0(sp)
	lw	t1, 4(sp)
	lw	ra, 8(sp)
	addi	sp, sp, 16
	mret

unexpected:
	li	t0, 0x100000
	li	t1, 0x13333
	sw	t1, 0(t0)
4:	j	4b

	.bss
	.globl interrupts
	.p2align 2
interrupts: .space 4

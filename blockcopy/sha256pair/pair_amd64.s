#include "textflag.h"

// Registers: X0 is SHA256RNDS2's own operand, X13 is scratch, X14 the order of
// bytes. Each lane has two of state (ABEF and CDGH) and four of message words.
// The processor renames X0 and X13, so that the lanes do not wait for each
// other. The sequence of one lane is that of Intel's "New Instructions
// Supporting the Secure Hash Algorithm", as in Go's crypto/sha256.

// WORDS takes the i-th 16 bytes of the block at p, big-endian, into m and X0.
#define WORDS(i, p, m) \
	MOVOU  (i*16)(p), X0; \
	PSHUFB X14, X0; \
	MOVO   X0, m

// AGAIN takes the words m, which the schedule made, into X0.
#define AGAIN(m) \
	MOVO m, X0

// TWO does two rounds, with the constants of group i.
#define TWO(i, s, t) \
	PADDD       (i*16)(AX), X0; \
	SHA256RNDS2 X0, s, t

// MORE does the other two rounds of a group.
#define MORE(s, t) \
	PSHUFD      $0x0e, X0, X0; \
	SHA256RNDS2 X0, t, s

// NEXT finishes the words after m, of which before are those before.
#define NEXT(before, m, after) \
	MOVO       m, X13; \
	PALIGNR    $4, before, X13; \
	PADDD      X13, after; \
	SHA256MSG2 m, after

// START begins the words that will take the place of before.
#define START(before, m) \
	SHA256MSG1 m, before

// Four rounds of both lanes: the first group, the next two, the fourth, those
// in the middle, the last but two and the last.
#define GROUP0(i, m, n) \
	WORDS(i, SI, m); TWO(i, X1, X2); MORE(X1, X2); \
	WORDS(i, BX, n); TWO(i, X7, X8); MORE(X7, X8)

#define GROUP1(i, k, m, l, n) \
	WORDS(i, SI, m); TWO(i, X1, X2); MORE(X1, X2); START(k, m); \
	WORDS(i, BX, n); TWO(i, X7, X8); MORE(X7, X8); START(l, n)

#define GROUP3(i, k, m, a, l, n, b) \
	WORDS(i, SI, m); TWO(i, X1, X2); NEXT(k, m, a); MORE(X1, X2); START(k, m); \
	WORDS(i, BX, n); TWO(i, X7, X8); NEXT(l, n, b); MORE(X7, X8); START(l, n)

#define GROUP4(i, k, m, a, l, n, b) \
	AGAIN(m); TWO(i, X1, X2); NEXT(k, m, a); MORE(X1, X2); START(k, m); \
	AGAIN(n); TWO(i, X7, X8); NEXT(l, n, b); MORE(X7, X8); START(l, n)

#define GROUP13(i, k, m, a, l, n, b) \
	AGAIN(m); TWO(i, X1, X2); NEXT(k, m, a); MORE(X1, X2); \
	AGAIN(n); TWO(i, X7, X8); NEXT(l, n, b); MORE(X7, X8)

#define GROUP15(i, m, n) \
	AGAIN(m); TWO(i, X1, X2); MORE(X1, X2); \
	AGAIN(n); TWO(i, X7, X8); MORE(X7, X8)

// PACK makes a state of eight words ABEF in s and CDGH in t, UNPACK the reverse.
#define PACK(state, s, t) \
	MOVOU   (state), s; \
	MOVOU   16(state), t; \
	PSHUFD  $0xb1, s, s; \
	PSHUFD  $0x1b, t, t; \
	MOVO    s, X13; \
	PALIGNR $8, t, s; \
	PBLENDW $0xf0, X13, t

#define UNPACK(state, s, t) \
	PSHUFD  $0x1b, s, s; \
	PSHUFD  $0xb1, t, t; \
	MOVO    s, X13; \
	PBLENDW $0xf0, t, s; \
	PALIGNR $8, X13, t; \
	MOVOU   s, (state); \
	MOVOU   t, 16(state)

// func pair(a, b *[8]uint32, p, q *byte, n int)
TEXT ·pair(SB), NOSPLIT, $64-40
	MOVQ  a+0(FP), DI
	MOVQ  b+8(FP), R8
	MOVQ  p+16(FP), SI
	MOVQ  q+24(FP), BX
	MOVQ  n+32(FP), CX
	MOVOU flip<>(SB), X14
	LEAQ  constants<>(SB), AX
	PACK(DI, X1, X2)
	PACK(R8, X7, X8)

loop:
	MOVOU X1, 0(SP)
	MOVOU X2, 16(SP)
	MOVOU X7, 32(SP)
	MOVOU X8, 48(SP)

	GROUP0(0, X3, X9)
	GROUP1(1, X3, X4, X9, X10)
	GROUP1(2, X4, X5, X10, X11)
	GROUP3(3, X5, X6, X3, X11, X12, X9)
	GROUP4(4, X6, X3, X4, X12, X9, X10)
	GROUP4(5, X3, X4, X5, X9, X10, X11)
	GROUP4(6, X4, X5, X6, X10, X11, X12)
	GROUP4(7, X5, X6, X3, X11, X12, X9)
	GROUP4(8, X6, X3, X4, X12, X9, X10)
	GROUP4(9, X3, X4, X5, X9, X10, X11)
	GROUP4(10, X4, X5, X6, X10, X11, X12)
	GROUP4(11, X5, X6, X3, X11, X12, X9)
	GROUP4(12, X6, X3, X4, X12, X9, X10)
	GROUP13(13, X3, X4, X5, X9, X10, X11)
	GROUP13(14, X4, X5, X6, X10, X11, X12)
	GROUP15(15, X6, X12)

	MOVOU 0(SP), X13
	PADDD X13, X1
	MOVOU 16(SP), X13
	PADDD X13, X2
	MOVOU 32(SP), X13
	PADDD X13, X7
	MOVOU 48(SP), X13
	PADDD X13, X8

	ADDQ $64, SI
	ADDQ $64, BX
	SUBQ $64, CX
	JNE  loop

	UNPACK(DI, X1, X2)
	UNPACK(R8, X7, X8)
	RET

// func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET

// flip turns the bytes of four words around.
DATA flip<>+0(SB)/8, $0x0405060700010203
DATA flip<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// The first 32 bits of the fractions of the cube roots of the first 64 primes
// (FIPS 180-4, 4.2.2).
DATA constants<>+0(SB)/8, $0x71374491428a2f98
DATA constants<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA constants<>+16(SB)/8, $0x59f111f13956c25b
DATA constants<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA constants<>+32(SB)/8, $0x12835b01d807aa98
DATA constants<>+40(SB)/8, $0x550c7dc3243185be
DATA constants<>+48(SB)/8, $0x80deb1fe72be5d74
DATA constants<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA constants<>+64(SB)/8, $0xefbe4786e49b69c1
DATA constants<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA constants<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA constants<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA constants<>+96(SB)/8, $0xa831c66d983e5152
DATA constants<>+104(SB)/8, $0xbf597fc7b00327c8
DATA constants<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA constants<>+120(SB)/8, $0x1429296706ca6351
DATA constants<>+128(SB)/8, $0x2e1b213827b70a85
DATA constants<>+136(SB)/8, $0x53380d134d2c6dfc
DATA constants<>+144(SB)/8, $0x766a0abb650a7354
DATA constants<>+152(SB)/8, $0x92722c8581c2c92e
DATA constants<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA constants<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA constants<>+176(SB)/8, $0xd6990624d192e819
DATA constants<>+184(SB)/8, $0x106aa070f40e3585
DATA constants<>+192(SB)/8, $0x1e376c0819a4c116
DATA constants<>+200(SB)/8, $0x34b0bcb52748774c
DATA constants<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA constants<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA constants<>+224(SB)/8, $0x78a5636f748f82ee
DATA constants<>+232(SB)/8, $0x8cc7020884c87814
DATA constants<>+240(SB)/8, $0xa4506ceb90befffa
DATA constants<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL constants<>(SB), RODATA|NOPTR, $256

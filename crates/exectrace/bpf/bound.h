/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/*
 * Bounds that the compiler cannot move and the verifier cannot lose.
 *
 * clang likes to check one register and use another, and verifiers up to 6.1
 * forget a bound that was checked on a 32-bit copy. So the 64-bit register that
 * is going to be used is compared and clamped in one piece of assembly.
 */
#ifndef EXECTRACE_BOUND_H
#define EXECTRACE_BOUND_H

#define AT_MOST(value, max)                        \
	asm volatile("if %[v] <= %[m] goto +1\n\t" \
		     "%[v] = %[m]"                 \
		     : [v] "+r"(value)             \
		     : [m] "i"(max))

#endif

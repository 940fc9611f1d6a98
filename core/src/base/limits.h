/* SPDX-License-Identifier: Apache-2.0 */
/* Size-first structs: reading and writing what an older or newer caller compiled. */
#ifndef PRA_BASE_LIMITS_H
#define PRA_BASE_LIMITS_H

#include "pra.h"

/* Copies src (src_size as its caller compiled it) over dst of known bytes, the rest of dst zero.
 * Returns PRA_ERR_INVALID_ARG if src_size is less than a size_t, PRA_ERR_UNSUPPORTED_OPTION if src
 * has nonzero bytes beyond known. */
int pra__opts_copy(void *dst, size_t known, const void *src, size_t src_size);

/* The other way: copies a size-first struct of src_size bytes to a caller whose struct may be older
 * or newer. out's own size stays, what is not known here becomes zero. Returns PRA_ERR_INVALID_ARG
 * if its size is less than a size_t. */
int pra__struct_out(void *out, const void *src, size_t src_size);

/* Effective limits of limits (NULL = defaults): every field set, PRA_UNLIMITED kept except where
 * 32-bit offsets set a bound of their own. Errors of pra__opts_copy. */
int pra__limits_resolve(const pra_limits *limits, pra_limits *out);

#endif

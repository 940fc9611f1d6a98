/* SPDX-License-Identifier: Apache-2.0 */
/* The snappy block format, into memory of the caller. */
#ifndef PRA_WIRE_SNAPPY_H
#define PRA_WIRE_SNAPPY_H

#include "pra.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Refuses a message of len bytes, compressed or not, that is over limits->max_decoded_bytes (limits
 * are resolved). Returns 0, PRA_ERR_DECODED_TOO_LARGE. */
int pra__check_decoded(size_t len, const pra_limits *limits, pra_error *err);

/* Reads the declared length, refusing in O(1) what cannot be true and what is over
 * limits->max_decoded_bytes (limits are resolved). Errors of pra_snappy_uncompress. */
int pra__snappy_length(const void *data, size_t len, const pra_limits *limits, size_t *out,
                       pra_error *err);

/* Uncompresses a block whose declared length is dst_len into dst. Returns 0, PRA_ERR_SNAPPY. */
int pra__snappy_uncompress(const void *data, size_t len, void *dst, size_t dst_len, pra_error *err);

#ifdef __cplusplus
}
#endif

#endif

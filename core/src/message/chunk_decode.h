/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_CHUNK_DECODE_H
#define PRA_MESSAGE_CHUNK_DECODE_H

#include "message/columns.h"
#include "pra.h"
#include "wire/bits.h"

/* Appends what is in a chunk to the columns of samples or histograms. Returns PRA_OK,
 * PRA_ERR_PROTO (*why says what is malformed), PRA_ERR_NOT_SUPPORTED (the type), PRA_ERR_NOMEM or
 * PRA_ERR_MEMORY_BUDGET. After an error a part is there. */
int pra__chunk_decode(struct pra__columns *c, int32_t type, const uint8_t *data, size_t len,
                      const char **why);
/* Fills err for what pra__chunk_decode returned. Returns rc. */
int pra__chunk_explain(int rc, int32_t type, const char *why, pra_error *err);

/* The part of it for types 2 and 3; r stands behind the number of histograms, which is not 0. What
 * is malformed is in r. */
int pra__histograms_decode(struct pra__columns *c, int32_t type, struct pra__bit_reader *r,
                           size_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The frame around decoding a message into columns: input, limits, budget, errors. */
#ifndef PRA_MESSAGE_DECODER_H
#define PRA_MESSAGE_DECODER_H

#include "message/columns.h"
#include "pra.h"
#include "wire/tlv.h"

/* Decoding functions return PRA_OK or an error's code. For PRA_ERR_PROTO the reader says what and
 * where, for PRA_ERR_MEMORY_BUDGET and PRA_ERR_NOMEM there is nothing to add; other codes come with
 * err filled. */
struct pra__decoder {
    struct pra__reader in;
    struct pra__columns *cols;
    const uint8_t *base;
    const uint8_t *stop; /* end of the whole message */
    const pra_limits *limits;
    pra_error *err;
    int v2;                /* start timestamps are known fields */
    const char *budget_of; /* what took more than the budget; NULL = the decoded request */
};

typedef int pra__decode_fn(struct pra__decoder *d);

struct pra__input {
    const void *data;
    size_t len;
    int snappy; /* data is a snappy block, to be uncompressed into the text column */
};

/* Replaces what cols holds by the message in input, read by decode. limits are resolved. On failure
 * cols is empty and err filled. */
int pra__decode(struct pra__columns *cols, pra__decode_fn *decode, const struct pra__input *input,
                const pra_limits *limits, pra_error *err);

static inline uint32_t pra__offset(const struct pra__decoder *d, const uint8_t *at)
{
    return (uint32_t)(at - d->base);
}

#endif

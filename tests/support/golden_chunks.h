/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks as Prometheus wrote them (tests/golden/chunks, made by tests/peers/chunks). */
#ifndef TESTS_SUPPORT_GOLDEN_CHUNKS_H
#define TESTS_SUPPORT_GOLDEN_CHUNKS_H

#include "pra.h"
#include "support/text.h"

struct golden_chunk {
    const char *name;
    int32_t type;
    struct text chunk;
    pra_write_request *content; /* one series */
};

/* Calls check for every chunk of a file. Returns their number. What goes wrong in here aborts. */
size_t golden_chunks(const char *file, void (*check)(void *ctx, const struct golden_chunk *golden),
                     void *ctx);

#endif

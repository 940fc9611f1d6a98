/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_BASE_BUFFER_H
#define PRA_BASE_BUFFER_H

#include "pra.h"

struct pra_buffer {
    pra_alloc alloc;
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* For buffers that live inside another struct. */
void pra__buffer_init(pra_buffer *buf, const pra_alloc *alloc);
void pra__buffer_fini(pra_buffer *buf);

/* Room for extra bytes behind len; grows by doubling. Returns PRA_OK or PRA_ERR_NOMEM. */
int pra__buffer_reserve(pra_buffer *buf, size_t extra);

/* Empties; gives the memory back if it is more than retain bytes. */
void pra__buffer_trim(pra_buffer *buf, size_t retain);

#endif

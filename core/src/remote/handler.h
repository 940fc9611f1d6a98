/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_HANDLER_H
#define PRA_REMOTE_HANDLER_H

#include "base/arena.h"
#include "pra.h"

struct pra_handler {
    pra_alloc alloc;
    pra_storage_vtbl vtbl; /* a copy: entries that the storage does not know are NULL */
    void *self;
    pra_limits limits; /* resolved */
    pra_executor executor;
    uint64_t max_head_bytes;
    char tenant_header[128];
    uint32_t accepted_messages; /* never 0 */
    uint32_t response_types;    /* likewise */
    uint32_t canonical_flags;
    pra_arena arena; /* what follows */
    pra_label *external_labels;
    size_t external_label_count;
    pra_str *ignored_matchers;
    size_t ignored_matcher_count;
    uint64_t read_delay_ms; /* 0 = off */
    uint64_t read_max_age_ms;
    pra_clock clock;
};

/* Series of its process_query come in the order of an answer, and stay in it. */
static inline int pra__storage_is_ordered(const pra_handler *h)
{
    const pra_storage_vtbl *v = &h->vtbl;
    return v->flags & PRA_STORAGE_ORDERED && v->process_query && !v->read && !v->select &&
           h->external_label_count == 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_HANDLER_H
#define PRA_REMOTE_HANDLER_H

#include "pra.h"

struct pra_handler {
    pra_alloc alloc;
    pra_storage_vtbl vtbl; /* a copy: entries that the storage does not know are NULL */
    void *self;
    pra_limits limits; /* resolved */
    pra_executor executor;
    uint64_t max_head_bytes;
    char tenant_header[128];
};

#endif

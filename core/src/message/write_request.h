/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_WRITE_REQUEST_H
#define PRA_MESSAGE_WRITE_REQUEST_H

#include <stdatomic.h>

#include "base/arena.h"
#include "message/columns.h"
#include "pra.h"

enum { PRA__REQUEST_EMPTY = 0, PRA__REQUEST_BUILT = 1, PRA__REQUEST_DECODED = 2 };

struct pra_write_request {
    struct pra__columns cols;
    int32_t version;   /* of the last decode, else 0 */
    int state;         /* PRA__REQUEST_… */
    int busy;          /* a callback of this handle is running */
    size_t retain;     /* bytes kept at reset */
    pra_arena scratch; /* of relabelling into it; empty between calls */
    atomic_size_t owners;
};

/* Others have it too, so that nothing may change it. If not, what they read of it is behind us. */
static inline int pra__write_request_is_shared(const pra_write_request *req)
{
    return atomic_load_explicit(&req->owners, memory_order_acquire) > 1;
}

/* PRA_ERR_BUSY if it may not be changed now. */
static inline int pra__write_request_check_own(const pra_write_request *req)
{
    return req->busy || pra__write_request_is_shared(req) ? PRA_ERR_BUSY : PRA_OK;
}

/* Whether series may be added: PRA_OK, PRA_ERR_INVALID_ARG (NULL), PRA_ERR_BUSY, PRA_ERR_STATE. The
 * first call makes an empty handle a built one. */
int pra__write_request_open(pra_write_request *req);

/* Whether data may be added to the current series: PRA_OK, PRA_ERR_BUSY, PRA_ERR_STATE. */
int pra__write_request_open_series(pra_write_request *req);

/* Room for so many bytes of text: PRA_OK, PRA_ERR_MEMORY_BUDGET (beyond 32 bits), PRA_ERR_NOMEM.
 * Then text can be added. */
int pra__write_room_for_text(struct pra__columns *c, size_t bytes);
pra_span pra__write_add_text(struct pra__columns *c, pra_str s);

/* Append columns as a message of either version. scratch is where the strings of the columns are
 * looked up meanwhile. Return PRA_OK, PRA_ERR_MEMORY_BUDGET or PRA_ERR_NOMEM, with out as it was.
 */
int pra__write_v1_encode(struct pra__columns *scratch, const pra_columns *c, pra_buffer *out);
int pra__write_v2_encode(struct pra__columns *scratch, const pra_columns *c, pra_buffer *out);

#endif

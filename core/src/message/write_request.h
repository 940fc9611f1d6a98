/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_WRITE_REQUEST_H
#define PRA_MESSAGE_WRITE_REQUEST_H

#include "message/columns.h"
#include "pra.h"

enum { PRA__REQUEST_EMPTY = 0, PRA__REQUEST_BUILT = 1, PRA__REQUEST_DECODED = 2 };

struct pra_write_request {
    struct pra__columns cols;
    int32_t version; /* of the last decode, else 0 */
    int state;       /* PRA__REQUEST_… */
    int busy;        /* a callback of this handle is running */
    size_t retain;   /* bytes kept at reset */
};

/* Appends req as a prometheus.WriteRequest. Returns PRA_OK or PRA_ERR_NOMEM. */
int pra__write_v1_encode(const pra_write_request *req, pra_buffer *out);

#endif

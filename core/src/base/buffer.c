/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <string.h>

#include "base/alloc.h"

void pra__buffer_init(pra_buffer *buf, const pra_alloc *alloc)
{
    *buf = (pra_buffer){pra__alloc_copy(alloc), NULL, 0, 0};
}

void pra__buffer_fini(pra_buffer *buf)
{
    pra__free(&buf->alloc, buf->data, buf->cap);
    buf->data = NULL;
    buf->len = buf->cap = 0;
}

int pra_buffer_new(const pra_alloc *alloc, pra_buffer **out)
{
    pra_alloc a = pra__alloc_copy(alloc);
    pra_buffer *buf = pra__malloc(&a, sizeof(*buf));
    if (!buf)
        return PRA_ERR_NOMEM;
    pra__buffer_init(buf, &a);
    *out = buf;
    return PRA_OK;
}

void pra_buffer_free(pra_buffer *buf)
{
    if (!buf)
        return;
    pra_alloc alloc = buf->alloc;
    pra__buffer_fini(buf);
    pra__free(&alloc, buf, sizeof(*buf));
}

int pra__buffer_reserve(pra_buffer *buf, size_t extra)
{
    if (extra <= buf->cap - buf->len)
        return PRA_OK;
    if (extra > SIZE_MAX / 2 - buf->len)
        return PRA_ERR_NOMEM;
    size_t want = buf->len + extra;
    size_t cap = buf->cap * 2 > want ? buf->cap * 2 : want;
    if (cap < 64)
        cap = 64;
    void *data = pra__realloc(&buf->alloc, buf->data, buf->cap, cap);
    if (!data)
        return PRA_ERR_NOMEM;
    buf->data = data;
    buf->cap = cap;
    return PRA_OK;
}

int pra_buffer_append(pra_buffer *buf, const void *data, size_t len)
{
    if (!buf || (!data && len))
        return PRA_ERR_INVALID_ARG;
    if (len == 0)
        return PRA_OK;
    if (pra__buffer_reserve(buf, len))
        return PRA_ERR_NOMEM;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return PRA_OK;
}

const void *pra_buffer_data(const pra_buffer *buf)
{
    return buf->len ? buf->data : NULL;
}

size_t pra_buffer_len(const pra_buffer *buf)
{
    return buf->len;
}

void pra_buffer_reset(pra_buffer *buf)
{
    buf->len = 0;
}

void pra__buffer_trim(pra_buffer *buf, size_t retain)
{
    if (buf->cap > retain)
        pra__buffer_fini(buf);
    buf->len = 0;
}

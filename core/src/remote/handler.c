/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/handler.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"

static int set_tenant_header(pra_handler *h, const char *name_cstr, pra_error *err)
{
    const char *name = name_cstr ? name_cstr : "X-Scope-OrgID";
    if (strlen(name) >= sizeof(h->tenant_header))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "the tenant header's name is longer than 127 bytes");
    memcpy(h->tenant_header, name, strlen(name) + 1);
    return PRA_OK;
}

static int configure(pra_handler *h, const pra_handler_opts *opts, pra_error *err)
{
    pra_handler_opts full = {0};
    int rc = opts ? pra__opts_copy(&full, sizeof(full), opts, opts->size) : PRA_OK;
    if (rc == PRA_OK)
        rc = pra__limits_resolve(full.limits, &h->limits);
    if (rc)
        return pra__error(err, rc, 0, "handler options: %s", pra_strerror(rc));
    h->executor = full.executor;
    h->max_head_bytes = full.max_head_bytes ? full.max_head_bytes : 64 << 10;
    return set_tenant_header(h, full.tenant_header_cstr, err);
}

int pra_handler_new(const pra_alloc *alloc, const pra_storage *storage,
                    const pra_handler_opts *opts, pra_handler **out, pra_error *err)
{
    pra_alloc a = pra__alloc_copy(alloc);
    pra_storage_vtbl vtbl;
    if (!storage || !storage->vtbl || !out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "a handler needs a storage");
    int rc = pra__opts_copy(&vtbl, sizeof(vtbl), storage->vtbl, storage->vtbl->size);
    if (rc)
        memset(&vtbl, 0, sizeof(vtbl));
    if (rc ==
        PRA_ERR_UNSUPPORTED_OPTION) /* newer entries exist: the ones known here are in place */
        vtbl.destroy = storage->vtbl->destroy;
    pra_handler *h = rc ? NULL : pra__calloc(&a, sizeof(*h));
    if (!rc && !h)
        rc = pra__nomem(err);
    else if (rc)
        pra__error(err, rc, 0, "storage entries: %s", pra_strerror(rc));
    else
        rc = configure(h, opts, err);
    if (rc) {
        pra__free(&a, h, sizeof(*h));
        if (vtbl.destroy)
            vtbl.destroy(storage->self);
        return rc;
    }
    h->alloc = a;
    h->vtbl = vtbl;
    h->self = storage->self;
    *out = h;
    return PRA_OK;
}

void pra_handler_free(pra_handler *handler)
{
    if (!handler)
        return;
    if (handler->vtbl.destroy)
        handler->vtbl.destroy(handler->self);
    pra_alloc alloc = handler->alloc;
    pra__free(&alloc, handler, sizeof(*handler));
}

int pra_handler_limits(const pra_handler *handler, pra_limits *out)
{
    size_t size = out ? out->size : 0;
    if (!handler || size < sizeof(size_t))
        return PRA_ERR_INVALID_ARG;
    memcpy(out, &handler->limits, size < sizeof(*out) ? size : sizeof(*out));
    out->size = size;
    return PRA_OK;
}

int pra_handler_metrics(pra_handler *handler, pra_buffer *out)
{
    return handler->vtbl.metrics ? handler->vtbl.metrics(handler->self, out) : PRA_OK;
}

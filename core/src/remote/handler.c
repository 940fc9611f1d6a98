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

/* Entries newer than those known here are refused, but destroy is in its place even then. */
static int copy_entries(const pra_storage_vtbl *from, pra_storage_vtbl *out, pra_error *err)
{
    int rc = pra__opts_copy(out, sizeof(*out), from, from->size);
    if (rc == PRA_OK)
        return PRA_OK;
    *out = (pra_storage_vtbl){0};
    if (rc == PRA_ERR_UNSUPPORTED_OPTION)
        out->destroy = from->destroy;
    return pra__error(err, rc, 0, "storage entries: %s", pra_strerror(rc));
}

int pra_handler_new(const pra_alloc *alloc, const pra_storage *storage,
                    const pra_handler_opts *opts, pra_handler **out, pra_error *err)
{
    pra_alloc a = pra__alloc_copy(alloc);
    pra_storage_vtbl vtbl;
    pra_handler *h = NULL;
    if (!storage || !storage->vtbl)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "a handler needs a storage");
    int rc = copy_entries(storage->vtbl, &vtbl, err);
    if (rc == PRA_OK && !out)
        rc = pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "out is missing");
    if (rc == PRA_OK && !(h = pra__calloc(&a, sizeof(*h))))
        rc = pra__nomem(err);
    if (rc == PRA_OK)
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
    if (!handler || !out)
        return PRA_ERR_INVALID_ARG;
    return pra__struct_out(out, &handler->limits, sizeof(handler->limits));
}

int pra_handler_metrics(pra_handler *handler, pra_buffer *out)
{
    return handler->vtbl.metrics ? handler->vtbl.metrics(handler->self, out) : PRA_OK;
}

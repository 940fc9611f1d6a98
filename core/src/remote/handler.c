/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/handler.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/str.h"

static int set_tenant_header(pra_handler *h, const char *name_cstr, pra_error *err)
{
    const char *name = name_cstr ? name_cstr : "X-Scope-OrgID";
    if (strlen(name) >= sizeof(h->tenant_header))
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "the tenant header's name is longer than 127 bytes");
    memcpy(h->tenant_header, name, strlen(name) + 1);
    return PRA_OK;
}

/* ---- options */

static int take_array(pra_handler *h, size_t count, size_t size, void **out)
{
    *out =
        count && count <= SIZE_MAX / 4 / size ? pra_arena_alloc(&h->arena, count * size, 8) : NULL;
    return *out || count == 0 ? PRA_OK : PRA_ERR_NOMEM;
}

static int check_external(const pra_label *labels, size_t count, pra_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (labels[i].name.len == 0 || labels[i].value.len == 0 ||
            !pra__utf8_valid(labels[i].name) || !pra__utf8_valid(labels[i].value))
            return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                      "an external label is empty or not UTF-8");
        for (size_t k = 0; k < i; k++)
            if (pra__str_equal(labels[i].name, labels[k].name))
                return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                          "an external label is there twice");
    }
    return PRA_OK;
}

static int set_external_labels(pra_handler *h, const pra_label *labels, size_t count,
                               pra_error *err)
{
    void *array;
    if (count && !labels)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "external labels are missing");
    int rc = check_external(labels, count, err);
    if (rc)
        return rc;
    if (take_array(h, count, sizeof(*labels), &array))
        return pra__nomem(err);
    h->external_labels = array;
    for (size_t i = 0; i < count; i++)
        if (pra__arena_str(&h->arena, labels[i].name, &h->external_labels[i].name) ||
            pra__arena_str(&h->arena, labels[i].value, &h->external_labels[i].value))
            return pra__nomem(err);
    h->external_label_count = count;
    return PRA_OK;
}

static int set_ignored_matchers(pra_handler *h, const char *const *names_cstr, size_t count,
                                pra_error *err)
{
    void *array;
    if (count && !names_cstr)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "ignored matchers are missing");
    if (take_array(h, count, sizeof(pra_str), &array))
        return pra__nomem(err);
    h->ignored_matchers = array;
    for (size_t i = 0; i < count; i++) {
        const pra_str name = {names_cstr[i], strlen(names_cstr[i])};
        if (pra__arena_str(&h->arena, name, &h->ignored_matchers[i]))
            return pra__nomem(err);
    }
    h->ignored_matcher_count = count;
    return PRA_OK;
}

static int set_bits(uint32_t given, uint32_t all, uint32_t *out, pra_error *err)
{
    if (given & ~all)
        return pra_error_set_cstr(err, PRA_ERR_UNSUPPORTED_OPTION,
                                  "a message or response type that is not known here");
    *out = given ? given : all;
    return PRA_OK;
}

static int set_read_range(pra_handler *h, const pra_handler_opts *opts, pra_error *err)
{
    h->read_delay_ms = opts->read_delay_ms;
    h->read_max_age_ms = opts->read_max_age_ms;
    h->clock = opts->clock;
    if ((h->read_delay_ms || h->read_max_age_ms) && !h->clock.now_ms && !h->clock.ctx)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "read_delay_ms and read_max_age_ms need the clock");
    return PRA_OK;
}

static int configure(pra_handler *h, const pra_handler_opts *opts, pra_error *err)
{
    const uint32_t messages = 1u << PRA_WRITE_V1 | 1u << PRA_WRITE_V2;
    const uint32_t types = 1u << PRA_RESPONSE_SAMPLES | 1u << PRA_RESPONSE_STREAMED_XOR_CHUNKS;
    pra_handler_opts full = {0};
    int rc = opts ? pra__opts_copy(&full, sizeof(full), opts, opts->size) : PRA_OK;
    if (rc == PRA_OK)
        rc = pra__limits_resolve(full.limits, &h->limits);
    if (rc)
        return pra__error(err, rc, 0, "handler options: %s", pra_strerror(rc));
    h->executor = full.executor;
    h->max_head_bytes = full.max_head_bytes ? full.max_head_bytes : 64 << 10;
    h->canonical_flags = full.canonical_flags;
    if (h->canonical_flags & ~(uint32_t)PRA_CANONICAL_STRICT)
        return pra_error_set_cstr(err, PRA_ERR_UNSUPPORTED_OPTION,
                                  "a canonical flag that is not known here");
    rc = set_tenant_header(h, full.tenant_header_cstr, err);
    if (rc == PRA_OK)
        rc = set_bits(full.accepted_messages, messages, &h->accepted_messages, err);
    if (rc == PRA_OK)
        rc = set_bits(full.response_types, types, &h->response_types, err);
    if (rc == PRA_OK)
        rc = set_external_labels(h, full.external_labels, full.external_label_count, err);
    if (rc == PRA_OK)
        rc = set_ignored_matchers(h, full.ignored_matchers_cstr, full.ignored_matcher_count, err);
    return rc ? rc : set_read_range(h, &full, err);
}

static void drop(pra_handler *h)
{
    if (!h)
        return;
    pra_alloc alloc = h->alloc;
    pra__arena_fini(&h->arena);
    pra__free(&alloc, h, sizeof(*h));
}

/* Entries newer than those known here are refused, but destroy is in its place even then. */
static int copy_entries(const pra_storage_vtbl *from, pra_storage_vtbl *out, pra_error *err)
{
    int rc = pra__opts_copy(out, sizeof(*out), from, from->size);
    if (rc == PRA_OK && !out->select != !out->fetch)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "storage entries: select and fetch go together");
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
    if (h) {
        h->alloc = a;
        pra__arena_init(&h->arena, &a, 0);
        rc = configure(h, opts, err);
    }
    if (rc) {
        drop(h);
        if (vtbl.destroy)
            vtbl.destroy(storage->self);
        return rc;
    }
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
    drop(handler);
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

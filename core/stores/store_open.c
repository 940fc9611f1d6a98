/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of storages: "memory:", "sqlite:PATH". */
#include <string.h>

#include "store_common.h"

#ifdef PRA_HAVE_SQLITE
static int open_sqlite(const pra_alloc *alloc, pra_str path, const pra_store_opts *opts,
                       pra_storage *out, pra_error *err)
{
    if (memchr(path.ptr, '\0', path.len))
        return pra__store_fail(err, PRA_ERR_INVALID_ARG, "sqlite: the path holds a NUL byte");
    char *cstr = pra__malloc(alloc, path.len + 1);
    if (!cstr)
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, "out of memory");
    memcpy(cstr, path.ptr, path.len);
    cstr[path.len] = '\0';
    int code = pra_store_sqlite_open(alloc, cstr, opts, out, err);
    pra__free(alloc, cstr, path.len + 1);
    return code;
}
#else
static int open_sqlite(const pra_alloc *alloc, pra_str path, const pra_store_opts *opts,
                       pra_storage *out, pra_error *err)
{
    (void)alloc, (void)path, (void)opts, (void)out;
    return pra__store_fail(err, PRA_ERR_NOT_SUPPORTED, "this build has no SQLite store");
}

int pra_store_sqlite_open(const pra_alloc *alloc, const char *path_cstr, const pra_store_opts *opts,
                          pra_storage *out, pra_error *err)
{
    (void)path_cstr;
    return open_sqlite(alloc, (pra_str){NULL, 0}, opts, out, err);
}
#endif

/* If address starts with the scheme, cuts it off. */
static int has_scheme(pra_str *address, const char *scheme)
{
    size_t len = strlen(scheme);
    if (address->len < len || memcmp(address->ptr, scheme, len) != 0)
        return 0;
    address->ptr += len;
    address->len -= len;
    return 1;
}

int pra_store_open(const pra_alloc *alloc, pra_str address, const pra_store_opts *opts,
                   pra_storage *out, pra_error *err)
{
    if (!out || (!address.ptr && address.len))
        return PRA_ERR_INVALID_ARG;
    if (!alloc)
        alloc = pra_alloc_libc();
    pra_str rest = address;
    if (has_scheme(&rest, "memory:")) {
        if (rest.len)
            return pra__store_fail(err, PRA_ERR_INVALID_ARG,
                                   "memory: takes nothing after the colon");
        return pra_store_memory_new(alloc, opts, out, err);
    }
    if (has_scheme(&rest, "sqlite:")) {
        if (!rest.len)
            return pra__store_fail(err, PRA_ERR_INVALID_ARG, "sqlite: needs a path: sqlite:PATH");
        return open_sqlite(alloc, rest, opts, out, err);
    }
    return pra__store_fail(
        err, PRA_ERR_INVALID_ARG, "unknown storage address \"%.*s\": use memory: or sqlite:PATH",
        (int)(address.len < 100 ? address.len : 100), address.ptr ? address.ptr : "");
}

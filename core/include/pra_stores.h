/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pra_stores.h
 * The storages that come with the library (libpra_stores): the trait of pra.h implemented in C.
 *
 * What they have in common
 * - A sample or native histogram of any age and in any order is stored. Sent again with the same
 * bits it is accepted and changes nothing; with another value for a time that is taken, it alone is
 * refused, the rest of the request is stored. At one time a series has a sample or a histogram, not
 * both: the second is refused as well.
 * - Values come back bit for bit, stale markers and other NaNs included, histograms as they were
 * sent. Start timestamps of histograms are kept, those of samples are not.
 * - Exemplars are stored in any order, and deleted when they are older than
 * exemplar_retention_ms. Sent again they change nothing.
 * - Metadata is kept for each metric family, without end: what came last.
 * - Remote read has no way to ask for exemplars and metadata: the SQLite file has views of them.
 * - Tenants do not see each other.
 * - Requests may come on any number of threads at the same time.
 */
#ifndef PRA_STORES_H
#define PRA_STORES_H

#include "pra.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pra_store_opts {
    size_t size;
    /** Samples, histograms and exemplars older than this are deleted in the background, in small
     * steps; milliseconds; 0 = keep everything (exemplars: see below). */
    uint64_t retention_ms;
    /** Where a store reports what it does on its own (retention, recovery); fn NULL = nowhere.
     * level: 0 debug, 1 info, 2 warning, 3 error. */
    struct {
        void *ctx;
        void (*fn)(void *ctx, int32_t level, const char *message_cstr);
    } log;
    /** The same for exemplars alone; milliseconds; default 24 h; PRA_UNLIMITED = as long as
     * samples. */
    uint64_t exemplar_retention_ms;
} pra_store_opts;

/**
 * Opens a storage by its address: "memory:", "sqlite:PATH".
 * On success *out is to be given to pra_handler_new, which takes it, or freed by its destroy entry.
 * opts NULL = defaults. Returns 0; PRA_ERR_INVALID_ARG (address), PRA_ERR_NOT_SUPPORTED (not in
 * this build), PRA_ERR_IO, PRA_ERR_CORRUPT.
 */
PRA_API int pra_store_open(const pra_alloc *alloc, pra_str address, const pra_store_opts *opts,
                           pra_storage *out, pra_error *err);

/** Everything in memory, nothing on disk. */
PRA_API int pra_store_memory_new(const pra_alloc *alloc, const pra_store_opts *opts,
                                 pra_storage *out, pra_error *err);

/** One SQLite file (and its -wal, -shm and -lock beside it), created if absent; one store at a time
 * may have it open, other programs may read it meanwhile. What was
 * acknowledged survives kill -9 and power loss. */
PRA_API int pra_store_sqlite_open(const pra_alloc *alloc, const char *path_cstr,
                                  const pra_store_opts *opts, pra_storage *out, pra_error *err);

#ifdef __cplusplus
}
#endif
#endif /* PRA_STORES_H */

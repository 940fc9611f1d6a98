/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file pra_arrow.h
 * Write requests as Apache Arrow tables, and Arrow tables as answers to a read: over the Arrow C
 * data and stream interfaces, which every Arrow library speaks. Part of libpra; no Arrow library is
 * needed or used (nanoarrow is no Debian package, and there is little of it that would be).
 *
 * Ownership is Arrow's: whoever has a struct whose release is not NULL calls release once, on any
 * thread, or moves the struct's bytes elsewhere and sets the old release to NULL. Children may be
 * moved out of their parent and live longer than it.
 */
#ifndef PRA_ARROW_H
#define PRA_ARROW_H

#include "pra.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ── The interface ───────────────────────────────────────────────────────────────────────────── */

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

/** The type of an array: a tree. */
struct ArrowSchema {
    const char *format;   /**< NUL-terminated; of a dictionary's user the type of the numbers */
    const char *name;     /**< NUL-terminated; may be NULL */
    const char *metadata; /**< may be NULL */
    int64_t flags;        /**< ARROW_FLAG_… */
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary; /**< type of the dictionary's entries, or NULL */
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

/** The data of an array, of the same shape as its type. */
struct ArrowArray {
    int64_t length;
    int64_t null_count; /**< -1 = not counted */
    int64_t offset;     /**< elements of the buffers before the first of the array */
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers; /**< the first is a bitmap of the elements that are not null, or NULL */
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

/** Arrays of one type, one after the other; used by one thread at a time. */
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out); /**< 0 or errno code */
    int (*get_next)(struct ArrowArrayStream *,
                    struct ArrowArray *out); /**< at the end out->release is NULL */
    const char *(*get_last_error)(struct ArrowArrayStream *); /**< may be NULL */
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif

/* ── Tables of a write request ───────────────────────────────────────────────────────────────── */

/**
 * The tables. series is uint32, a position in the request (row number of PRA_ARROW_SERIES); times
 * are timestamp[ms, UTC]; nothing is null unless the text says so. labels is a
 * map<dictionary<int32, utf8>, dictionary<int32, utf8>>: PyArrow, Polars, DuckDB, pandas and
 * nanoarrow all take it (measured), and DuckDB and Polars look labels up by name in it; only
 * nanoarrow's own iterator in Python knows no maps, whatever is in them.
 */
enum {
    /** A row a sample: series, timestamp, value float64, start_timestamp (null: not set) */
    PRA_ARROW_SAMPLES = 0,
    /** A row a series: series, fingerprint uint64 (pra_labels_fingerprint), name dictionary<int32,
     * utf8> ("" where there is no label __name__), labels (all of them, also __name__) */
    PRA_ARROW_SERIES = 1,
    /** A row a native histogram: series, timestamp, start_timestamp (null: not set), schema int32,
     * reset_hint dictionary<int32, utf8> (unknown, yes, no, gauge), is_float bool, count,
     * zero_count, zero_threshold, sum float64, positive_spans list<struct<offset int32, length
     * uint32>>, positive_buckets list<float64> (counts, not their differences), negative_spans,
     * negative_buckets, custom_values list<float64> */
    PRA_ARROW_HISTOGRAMS = 2,
    /** A row an exemplar: series, timestamp, value float64, labels */
    PRA_ARROW_EXEMPLARS = 3,
    /** A row an entry of metadata: series (null: stands alone), family utf8 ("" where series says
     * what is described), type dictionary<int32, utf8> (unknown, counter, gauge, histogram,
     * gaugehistogram, summary, info, stateset), help, unit utf8 (bytes above 127 of a text that is
     * not UTF-8 become "?") */
    PRA_ARROW_METADATA = 4
};

/** The type of a table: a struct with a field a column. Returns 0; PRA_ERR_INVALID_ARG (table). */
PRA_API int pra_arrow_schema(int32_t table, const pra_alloc *alloc, struct ArrowSchema *out);

/**
 * A table of req as one struct array, and its type in schema, which may be NULL. Memory comes from
 * alloc (NULL = libc), which must live until both are released, on whatever thread. Timestamps and
 * values of samples and exemplars are not copied: such an array holds a share of req
 * (pra_write_request_share) until it is released. Returns 0; PRA_ERR_INVALID_ARG (table),
 * PRA_ERR_BUSY, PRA_ERR_LABELS (labels that are not UTF-8: canonicalize first),
 * PRA_ERR_NOT_SUPPORTED (more than 2^31 - 1 labels, buckets or bytes of different strings in one
 * column).
 */
PRA_API int pra_arrow_export(const pra_write_request *req, int32_t table, const pra_alloc *alloc,
                             struct ArrowSchema *schema, struct ArrowArray *out, pra_error *err);

/** The same as a stream of one array, made at once: the stream is no longer bound to req than the
 * array is. */
PRA_API int pra_arrow_stream(const pra_write_request *req, int32_t table, const pra_alloc *alloc,
                             struct ArrowArrayStream *out, pra_error *err);

/* ── Tables as answers ───────────────────────────────────────────────────────────────────────── */

/**
 * Adds the series of a table to sink; releases stream in every case. Two shapes:
 * - a row a sample: timestamp (a timestamp of any unit, with or without a zone, or int64
 * milliseconds) and value (any float or integer type). Rows of a series, which is all rows with the
 * same labels, may stand anywhere; all rows are in memory at the end, at 16 bytes and more each.
 * - a row a series: timestamps and values, lists of the above, of equal lengths. A row at a time is
 * in memory, so large answers go this way; two rows with the same labels are not joined.
 * Labels come from a column labels (a map or list of pairs of strings, or a struct of strings) and
 * from every other column, by its name; they must be strings. Columns __index_level_0__ and so on,
 * the index without a name of a DataFrame of pandas, are passed over. Null and "" are no label;
 * where the value is null is no sample. Strings are utf8, large_utf8, string_view or dictionaries
 * of these; lists are list, large_list or fixed_size_list. limits NULL = defaults; memory from
 * alloc is within max_memory_bytes. Returns 0; PRA_DONE: all is taken, and the sink has enough, so
 * that an ordered storage keeps its next table for later (see process_query); the sink's errors;
 * PRA_ERR_INVALID_ARG: message says which column must be what; PRA_ERR_MEMORY_BUDGET;
 * PRA_ERR_CALLBACK: the stream failed, with its message. Of what came before an error series may
 * have been added.
 */
PRA_API int pra_arrow_push(struct ArrowArrayStream *stream, pra_series_sink *sink,
                           const pra_alloc *alloc, const pra_limits *limits, pra_error *err);

#ifdef __cplusplus
}
#endif
#endif /* PRA_ARROW_H */

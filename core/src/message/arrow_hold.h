/* SPDX-License-Identifier: Apache-2.0 */
/* Making Arrow's structs. All structs of one export live in one block of memory, which goes with
 * the last of them: they may be moved apart and released in any order, on any threads. */
#ifndef PRA_MESSAGE_ARROW_HOLD_H
#define PRA_MESSAGE_ARROW_HOLD_H

#include "base/arena.h"
#include "pra_arrow.h"

/* The type of a column, for schema and array alike. */
struct pra__arrow_field {
    const char *name;
    const char *format;
    int64_t flags;
    int64_t child_count;
    const struct pra__arrow_field *children;
    const struct pra__arrow_field *dictionary; /* of its entries, or NULL */
};

/* NULL if there is no such table. */
const struct pra__arrow_field *pra__arrow_table(int32_t table);

struct pra__arrow_hold;

/* Returns PRA_OK or PRA_ERR_NOMEM, as the next three. */
int pra__arrow_hold_new(const pra_alloc *alloc, struct pra__arrow_hold **out);

/* Fills *out, which is the caller's, and makes what it points to. */
int pra__arrow_make_schema(struct pra__arrow_hold *hold, const struct pra__arrow_field *field,
                           struct ArrowSchema *out);
/* All lengths are 0, all buffers empty, and not NULL but for the bitmaps. */
int pra__arrow_make_array(struct pra__arrow_hold *hold, const struct pra__arrow_field *field,
                          struct ArrowArray *out);

/* Memory of the block for count elements: a buffer of an array. NULL if there is none. */
void *pra__arrow_buffer(struct pra__arrow_hold *hold, size_t count, size_t size);

/* The block owns a share of a request from now on. */
void pra__arrow_hold_request(struct pra__arrow_hold *hold, pra_write_request *share);

/* Frees the block, with all that was made from it. Only while none of that was given out. */
void pra__arrow_hold_free(struct pra__arrow_hold *hold);

#endif

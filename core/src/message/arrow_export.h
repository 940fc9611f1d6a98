/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_ARROW_EXPORT_H
#define PRA_MESSAGE_ARROW_EXPORT_H

#include "message/arrow_hold.h"

/* One export at work. */
struct pra__arrow_export {
    struct pra__arrow_hold *hold;
    const pra_alloc *alloc; /* for what is needed meanwhile */
    pra_columns c;
    pra_error *err;
};

/* n elements of one size as buffer of array; the length too. Returns the elements, or NULL. */
void *pra__arrow_fill(struct pra__arrow_export *e, struct ArrowArray *array, size_t n, size_t size);

/* The number of its series for each of the elements that offsets divide. */
int pra__arrow_series_numbers(struct pra__arrow_export *e, const uint32_t *offsets, size_t n,
                              struct ArrowArray *array);

/* A bitmap of n elements that are not null where is_set says so: none if all are. is_set NULL: all
 * are null. */
int pra__arrow_validity(struct pra__arrow_export *e, struct ArrowArray *array, size_t n,
                        int (*is_set)(const pra_columns *c, size_t i));

/* The texts as the dictionary of array. */
int pra__arrow_constants(struct pra__arrow_export *e, const char *const *texts, size_t count,
                         struct ArrowArray *array);

/* Fill an array of these types. Return PRA_OK; else PRA_ERR_NOMEM, or an error that is in err. */
int pra__arrow_export_histograms(struct pra__arrow_export *e, struct ArrowArray *out);
int pra__arrow_export_metadata(struct pra__arrow_export *e, struct ArrowArray *out);

#endif

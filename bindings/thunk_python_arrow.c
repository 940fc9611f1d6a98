/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that export Arrow data (the Arrow PyCapsule interface): as columns. Capsules release
 * what nobody has taken out of them. */
#include "thunk_python_results.h"

#include <string.h>

/* Calls a method without arguments; NULL without an exception if there is none, or if it lacks a
 * package (as of pandas without pyarrow). */
static PyObject *call_optional(PyObject *object, const char *name)
{
    PyObject *method = PyObject_GetAttrString(object, name);
    if (!method) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
        }
        return NULL;
    }
    PyObject *result = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    if (!result && PyErr_ExceptionMatches(PyExc_ImportError)) {
        PyErr_Clear();
    }
    return result;
}

PyObject *pra__py_arrow_stream(PyObject *object, struct ArrowArrayStream **out)
{
    PyObject *capsule = PyType_Check(object) ? NULL : call_optional(object, "__arrow_c_stream__");
    if (capsule) {
        *out = PyCapsule_GetPointer(capsule, "arrow_array_stream");
        if (*out && !(*out)->release) {
            PyErr_SetString(PyExc_ValueError, "the Arrow stream was used up before");
            *out = NULL;
        }
        if (!*out) {
            Py_CLEAR(capsule);
        }
    }
    return capsule;
}

/* ---- a column */

static const char *name_of(enum pra__py_kind column)
{
    return column == PRA__PY_TIMESTAMPS ? "timestamps" : "values";
}

/* What a schema says of its elements. Returns 0, or -1 with an exception. */
static int describe(const struct ArrowSchema *schema, enum pra__py_kind column,
                    pra__py_elements *out)
{
    static const char formats[] = "csilCSILefg";
    static const char kinds[] = "iiiiuuuufff";
    static const size_t sizes[] = {1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8};
    const char *format = schema->format;
    const char *found = strchr(formats, *format);
    if (!schema->dictionary && *format && found && !format[1]) {
        *out = (pra__py_elements){.size = sizes[found - formats], .kind = kinds[found - formats]};
        return 0;
    }
    *out = (pra__py_elements){.size = sizeof(int64_t), .kind = 'i'};
    if (!schema->dictionary && strncmp(format, "ts", 2) == 0 && format[2] &&
        strchr("smun", format[2]) && format[3] == ':') {
        const char unit[] = {format[2], 's'};
        return pra__py_unit(unit, *unit == 's' ? 1 : sizeof unit, out);
    }
    if (strcmp(format, "n") == 0) { /* of an empty column nobody knows more */
        out->size = 0;
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s must be Arrow numbers%s, not of the format '%.40s'",
                 name_of(column), column == PRA__PY_TIMESTAMPS ? " or timestamps" : "", format);
    return -1;
}

static int has_nulls(const struct ArrowArray *array)
{
    const uint8_t *valid = array->n_buffers > 0 ? array->buffers[0] : NULL;
    if (array->null_count == 0 || !valid) {
        return 0;
    }
    for (int64_t i = array->offset; i < array->offset + array->length; i++) {
        if (!(valid[i / 8] >> (i % 8) & 1)) {
            return 1;
        }
    }
    return 0;
}

static int append_array(pra__py_numbers *n, const struct ArrowArray *array,
                        const pra__py_elements *type, enum pra__py_kind column)
{
    pra__py_elements elements = *type;
    if (array->length == 0) {
        return 0;
    }
    if (type->size == 0 || has_nulls(array)) {
        PyErr_Format(PyExc_ValueError, "null among the %s", name_of(column));
        return -1;
    }
    elements.count = (size_t)array->length;
    elements.stride = (ptrdiff_t)type->size;
    elements.data = (const char *)array->buffers[1] + (size_t)array->offset * type->size;
    return pra__py_numbers_append(n, &elements, column);
}

/* object.__arrow_c_array__() has given a pair of capsules. */
static int fill_array(pra__py_numbers *n, PyObject *pair, enum pra__py_kind column)
{
    pra__py_elements type;
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "__arrow_c_array__ must give a pair of capsules");
        return -1;
    }
    const struct ArrowSchema *schema =
        PyCapsule_GetPointer(PyTuple_GET_ITEM(pair, 0), "arrow_schema");
    const struct ArrowArray *array =
        schema ? PyCapsule_GetPointer(PyTuple_GET_ITEM(pair, 1), "arrow_array") : NULL;
    if (!array) {
        return -1;
    }
    return describe(schema, column, &type) ? -1 : append_array(n, array, &type, column);
}

static int stream_failed(struct ArrowArrayStream *stream)
{
    const char *message = stream->get_last_error ? stream->get_last_error(stream) : NULL;
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_RuntimeError, "the Arrow stream failed: %.200s",
                     message ? message : "no reason given");
    }
    return -1;
}

/* One piece of a stream; 1 at its end. The producer may want the GIL for another thread. */
static int next_array(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    int code;
    memset(out, 0, sizeof *out);
    Py_BEGIN_ALLOW_THREADS;
    code = stream->get_next(stream, out);
    Py_END_ALLOW_THREADS;
    if (code) {
        return stream_failed(stream);
    }
    return out->release ? 0 : 1;
}

static int fill_stream(pra__py_numbers *n, struct ArrowArrayStream *stream,
                       enum pra__py_kind column)
{
    struct ArrowSchema schema = {0};
    struct ArrowArray array;
    pra__py_elements type;
    if (stream->get_schema(stream, &schema)) {
        return stream_failed(stream);
    }
    int code = describe(&schema, column, &type);
    schema.release(&schema);
    while (!code && !(code = next_array(stream, &array))) {
        code = append_array(n, &array, &type, column);
        array.release(&array);
    }
    return code < 0 ? -1 : 0;
}

int pra__py_arrow_fill(pra__py_numbers *n, PyObject *object, enum pra__py_kind column)
{
    struct ArrowArrayStream *stream;
    PyObject *exported = call_optional(object, "__arrow_c_array__");
    int code = 0;
    if (exported) {
        code = fill_array(n, exported, column);
    } else if (!PyErr_Occurred() && (exported = pra__py_arrow_stream(object, &stream))) {
        code = fill_stream(n, stream, column);
    }
    Py_XDECREF(exported);
    if (code || PyErr_Occurred()) {
        return -1;
    }
    return exported ? 1 : 0;
}

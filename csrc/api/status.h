/* What a call returns: 0, or some of these, or-ed together. */
#ifndef FL_API_STATUS_H
#define FL_API_STATUS_H

enum {
    FL_VIOLATED = 1,    /* an element that counts lies outside of the loss's domain */
    FL_INTERRUPTED = 2, /* the call's `interrupted` said to stop; outputs are undefined then */
    FL_NO_MEMORY = 4,   /* nothing has been written */
    FL_BAD_INDEX = 8,   /* a sparse matrix leads out of itself */
    FL_DIVERGED = 16,   /* a gradient, a loss or parameters would not be finite */
};

#endif

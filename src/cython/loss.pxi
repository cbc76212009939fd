# Losses as objects, and their methods. Part of _core.pyx.


# The losses of calls with parameters of their own that a loss keeps.
cdef enum:
    RECENT_LOSSES = 8


cdef class Loss:
    """A loss: called for its value, with methods for its derivatives. Immutable.

    See Also
    --------
    fastloss.losses : the names of all losses.
    fastloss.get : a loss by name.
    """

    cdef readonly str name
    cdef readonly str family
    cdef readonly Method grad
    cdef readonly Method value_and_grad
    cdef readonly Method grad_and_hess
    cdef readonly object declaration
    cdef dict _params
    cdef dict _recent  # the losses of the last calls with other parameters, by these; see for_call
    cdef bint is_pointwise
    cdef int id
    cdef double constants[2][FL_CONSTANTS]  # for float32 and float64
    cdef object __weakref__

    def __init__(self, declaration):
        """`declaration` is the function that documents the loss and turns its parameters into constants."""
        if self.declaration is not None:
            raise TypeError(f"{self!r} cannot be changed; use bind")
        self.declaration = declaration
        self.name = declaration.__name__
        self.family = declaration.__module__.rpartition(".")[2]
        self.id = self.find_id()
        self.is_pointwise = not isinstance(self, RowLoss)
        self.set_params(declaration.__kwdefaults__ or {})
        self.add_methods()

    cdef int find_id(self) except -1:
        return loss_names().index(self.name)

    cdef dict defaults(self):
        return self.declaration.__kwdefaults__ or {}

    def __cinit__(self, *args, **options):  # what it is given is for __init__
        self._recent = {}

    cdef set_params(self, dict params):
        self.set_constants(self.declaration(**params))
        self._params = {name: value if value is None else float(value) for name, value in params.items()}

    cdef set_constants(self, tuple constants):
        for i in range(FL_CONSTANTS):
            for k in range(2):
                self.constants[k][i] = fl_constant(constants[i], 4 + 4 * k) if i < len(constants) else 0.0

    cdef add_methods(self):
        self.grad = Method(self, GRAD, "grad")
        self.value_and_grad = Method(self, VALUE_AND_GRAD, "value_and_grad")
        self.grad_and_hess = Method(self, GRAD_AND_HESS, "grad_and_hess")

    cdef Loss with_params(self, dict params):
        """The same loss with other parameters, for one call: its methods are not there yet."""
        for key in params:
            if key not in self._params:
                _arguments.refuse_keyword(self.name, key, tuple(self._params))
        cdef Loss loss = type(self).__new__(type(self))
        loss.declaration, loss.name, loss.family, loss.id = self.declaration, self.name, self.family, self.id
        loss.is_pointwise = self.is_pointwise
        loss.set_params({**self._params, **params})
        return loss

    cdef Loss for_call(self, dict params):
        """The same loss with other parameters, of which the last few are kept: to check them takes 2 microseconds.

        They are found by name, type and value of each parameter, since 1 and 1.0, which are equal, need not both be
        valid. Only Python's own numbers are looked up: another object may change, or compare in a way of its own.
        """
        cdef list key = []
        cdef Loss loss
        for name, value in params.items():
            kind = type(value)
            if not (kind is float or kind is int) or (kind is float and value == 0):  # 0.0 equals -0.0
                return self.with_params(params)
            key += (name, kind, value)
        recent = tuple(key)
        # Without a GIL another thread may clear the dict between the look-up and the new reference to what was found.
        with cython.critical_section(self):
            loss = self._recent.get(recent)
        if loss is None:
            loss = self.with_params(params)
            with cython.critical_section(self):
                if len(self._recent) >= RECENT_LOSSES:
                    self._recent.clear()
                self._recent[recent] = loss
        return loss

    def __call__(self, *args, sample_weight=None, reduction=_MEAN, out=None, **params):
        return call_loss(self, VALUE, args, sample_weight, reduction, out, params)

    def __class_getitem__(cls, parameters):
        from types import GenericAlias

        return GenericAlias(cls, parameters)

    def bind(self, *args, **params):
        """Return the same loss with other defaults.

        Parameters
        ----------
        **params
            Parameters of the loss by name; those left out keep their present defaults.

        Returns
        -------
        Loss
            Picklable, comparable and hashable, as every loss.

        Raises
        ------
        TypeError
            If the loss has no parameter of that name, or the value is no number.
        ValueError
            If a parameter is out of range.

        Examples
        --------
        >>> import fastloss as fl
        >>> wide = fl.huber.bind(delta=2.0)
        >>> wide([0.0], [3.0]) == fl.huber([0.0], [3.0], delta=2.0)
        True
        """
        if args:
            _arguments.refuse_bound(self.name, tuple(self._params))
        cdef Loss loss = self.with_params(params)
        loss.add_methods()
        return loss

    def __getattr__(self, str name):
        raise AttributeError(
            f"{self.name} has no {name!r}; its derivatives are grad, value_and_grad and grad_and_hess", name=name, obj=self
        )

    @property
    def params(self):
        """The parameters and their present values, as a new dict."""
        return dict(self._params)

    @property
    def traits(self):
        """What is known of the loss with these parameters: see `fastloss.traits.Traits`."""
        return self.declaration.traits.resolved(self._params, self.requirement())

    cdef str requirement(self):
        """What the domain asks for; "" where every number is inside."""
        return fl_loss_requirement(self.id).decode()

    @property
    def __name__(self):
        return self.name

    @property
    def __module__(self):
        return self.declaration.__module__

    @property
    def __qualname__(self):
        return self.name

    @property
    def __doc__(self):
        from fastloss._documentation import loss_doc

        return f"{self.name}{self.__signature__}\n\n{loss_doc(self)}"

    @property
    def __signature__(self):
        from fastloss._documentation import signature

        return signature(self)

    def __repr__(self):
        defaults = self.defaults()
        changed = {k: v for k, v in self._params.items() if v != defaults[k]}
        arguments = ", ".join(f"{k}={v!r}" for k, v in changed.items())
        return f"fastloss.{self.name}" + (f".bind({arguments})" if changed else "")

    def __eq__(self, other):
        if not isinstance(other, Loss):
            return NotImplemented
        return self.name == other.name and self._params == (<Loss>other)._params

    def __hash__(self):
        return hash((self.name, tuple(self._params.items())))

    def __reduce__(self):
        from fastloss.registry import restore

        return restore, (self.name, self._params)


# What all losses of rows have as parameters, and what only a call takes.
cdef dict ROW_OPTIONS = {"class_weight": None, "ignore_index": None, "axis": -1}
cdef dict NO_PARAMS = {}
cdef tuple CALL_OPTIONS = ("class_weight", "return_lse", "return_correct")


cdef class RowLoss(Loss):
    cdef readonly tuple own  # the names of the parameters that are constants of the C function
    cdef int labels  # what y_true may be: FL_LABELS_indices and FL_LABELS_rows
    cdef bint softmax  # rows have one
    cdef bint smooths  # by parameters that make every label a row of probabilities

    cdef int find_id(self) except -1:
        return row_loss_names().index(self.name)

    cdef str requirement(self):
        return fl_row_loss_requirement(self.id).decode()

    @property
    def __doc__(self):  # a class without a text has None, which would hide that of Loss
        from fastloss._documentation import loss_doc

        return f"{self.name}{self.__signature__}\n\n{loss_doc(self)}"

    cdef dict defaults(self):
        return {**(self.declaration.__kwdefaults__ or {}), **ROW_OPTIONS}

    cdef set_params(self, dict params):
        self.own = tuple(self.declaration.__kwdefaults__ or {})
        options = dict(ROW_OPTIONS)
        constants = {}
        for key, value in params.items():
            (constants if key in self.own else options)[key] = value
        self.set_constants(self.declaration(**constants))
        self._params = {name: value if value is None else float(value) for name, value in constants.items()}
        self._params.update(_row_arguments.check_options(**options))
        self.labels = fl_row_loss_labels(self.id)
        self.softmax = fl_row_loss_is_softmax(self.id)
        self.smooths = "label_smoothing" in self.own


cdef class Method:
    """One of a loss's derivatives, called as the loss is."""

    cdef readonly Loss __self__
    cdef readonly str __name__
    cdef int kind
    cdef object __weakref__

    def __cinit__(self, Loss loss not None, int kind, str name not None):
        self.__self__ = loss
        self.kind = kind
        self.__name__ = name

    def __call__(self, *args, sample_weight=None, reduction=_MEAN, out=None, **params):
        return call_loss(self.__self__, self.kind, args, sample_weight, reduction, out, params)

    @property
    def __doc__(self):
        from fastloss._documentation import method_doc

        return f"{self.__qualname__}{self.__signature__}\n\n{method_doc(self.__self__, self.__name__)}"

    @property
    def __qualname__(self):
        return f"{self.__self__.name}.{self.__name__}"

    @property
    def __module__(self):
        return self.__self__.__module__

    @property
    def __signature__(self):
        return self.__self__.__signature__

    def __repr__(self):
        return f"{self.__self__!r}.{self.__name__}"

    def __eq__(self, other):
        if not isinstance(other, Method):
            return NotImplemented
        return self.kind == (<Method>other).kind and self.__self__ == (<Method>other).__self__

    def __hash__(self):
        return hash((self.kind, self.__self__))

    def __reduce__(self):
        return getattr, (self.__self__, self.__name__)


# ---- a call -------------------------------------------------------------------------------------------


cdef tuple arguments_of(Loss loss, tuple args, dict params):
    """The targets and predictions, which may be passed by name, too."""
    names = ("y_true", "y_pred")
    arguments = list(args)
    if len(args) > len(names):
        _arguments.refuse_positional(loss.name, names, tuple(loss._params), len(args))
    for name in names[:len(args)]:
        if name in params:
            raise TypeError(f"{loss.name} got {name} twice: by position and by name")
    for name in names[len(args):]:
        if name not in params:
            for key in params:
                if key not in names and key not in loss._params and key not in CALL_OPTIONS:
                    _arguments.refuse_keyword(loss.name, key, tuple(loss._params))
            _arguments.refuse_missing(loss.name, name, names)
        arguments.append(params.pop(name))
    return tuple(arguments)


cdef inline object call_loss(Loss loss, int kind, tuple args, sample_weight, reduction, out, dict params):
    """A loss or one of its methods, called.

    The most common arguments are looked for first, which takes 0.05 microseconds, and get the short way to C.
    """
    if (
        loss.is_pointwise and len(args) == 2 and not params and sample_weight is None and out is None
        and reduction is _MEAN and is_straight(args[0], args[1])
    ):
        return straight(loss, kind, <ndarray>args[0], <ndarray>args[1])
    return call_in_full(loss, kind, args, sample_weight, reduction, out, params)


cdef object call_in_full(Loss loss, int kind, tuple args, sample_weight, reduction, out, dict params):
    """A call with any arguments; one whose parameters alone are uncommon gets the short way after all."""
    cdef Call call
    cdef Layout layout
    cdef dict options = params
    if loss.declaration is None:
        raise TypeError("this loss was never initialised; use fastloss.get")
    if len(args) != 2 or (params and ("y_true" in params or "y_pred" in params)):
        args = arguments_of(loss, args, params)
    parameters = [value for value in params.values() if isinstance(value, np.ndarray)] if params else []
    if not loss.is_pointwise and params:
        options = {key: params.pop(key) for key in CALL_OPTIONS if key in params}
    if params:
        loss = loss.for_call(params)
        if loss.is_pointwise and not parameters:
            return call_loss(loss, kind, args, sample_weight, reduction, out, NO_PARAMS)
    call = PointwiseCall.__new__(PointwiseCall) if loss.is_pointwise else RowCall.__new__(RowCall)
    call.loss, call.parameters = loss, parameters
    call.kind = kind
    call.reduction = MEAN if reduction is _MEAN else reduction_code(reduction)
    call.layout = &layout
    call.read(args[0], args[1], options)
    return evaluate(call, sample_weight, out)

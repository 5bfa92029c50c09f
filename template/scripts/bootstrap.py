# @include "hooks/bootstrap.py"

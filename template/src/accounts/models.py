"""The user model, this service's own from the first migration, as it cannot be exchanged later."""

from __future__ import annotations

# @if user_identifier == "username"
from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person who signs in with a user name; add fields of your own here."""
# @else
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.db.models.functions import Upper


class UserManager(BaseUserManager["User"]):
    """Make and find users by their email address, in whatever case it is written."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Return a new, saved user; without a password, one who cannot sign in with one."""
        if not email:
            raise ValueError("A user needs an email address.")
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Return a new, saved user who may do everything in the admin."""
        return self.create_user(email, password, **fields, is_staff=True, is_superuser=True)

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user who signs in as this address."""
        return self.get(email__iexact=username)


class User(AbstractUser):
    """A person who signs in with an email address; add fields of your own here."""

    username = None  # type: ignore[assignment] # the address takes its place
    email = models.EmailField("email address", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment] # of other arguments

    class Meta(AbstractUser.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                Upper("email"),  # as email__iexact asks for it, so that a sign-in finds it there
                name="accounts_user_email_case_insensitive",
                violation_error_message="A user with that email address already exists.",
            ),
        ]
# @endif

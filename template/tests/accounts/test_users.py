"""Users, as they sign in."""

# @if user_identifier == "username"
import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User

pytestmark = pytest.mark.django_db


def test_a_superuser_signs_in_to_the_admin(client: Client) -> None:
    User.objects.create_superuser("ada", password="a long password")

    response = client.post(
        reverse("admin:login"), {"username": "ada", "password": "a long password"}
    )

    assert response.status_code == 302
    assert client.get(reverse("admin:accounts_user_changelist")).status_code == 200
# @else
import pytest
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from accounts.models import User

pytestmark = pytest.mark.django_db


def test_a_superuser_signs_in_to_the_admin_in_any_case(client: Client) -> None:
    User.objects.create_superuser("Ada@example.com", password="a long password")

    response = client.post(
        reverse("admin:login"), {"username": "ada@EXAMPLE.com", "password": "a long password"}
    )

    assert response.status_code == 302
    assert client.get(reverse("admin:accounts_user_changelist")).status_code == 200


def test_an_address_is_unique_in_any_case() -> None:
    User.objects.create_user("ada@example.com")

    with pytest.raises(IntegrityError):
        User.objects.create_user("ADA@example.com")


def test_a_user_needs_an_address() -> None:
    with pytest.raises(ValueError, match="needs an email address"):
        User.objects.create_user("")


def test_the_admin_adds_a_user(admin_client: Client) -> None:
    response = admin_client.post(
        reverse("admin:accounts_user_add"),
        {
            "email": "ada@example.com",
            "usable_password": "true",
            "password1": "a long password",
            "password2": "a long password",
        },
    )

    assert response.status_code == 302
    assert User.objects.filter(email="ada@example.com").exists()
# @endif

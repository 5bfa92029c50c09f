"""The front page."""

from django.test import Client
from django.urls import reverse


def test_the_front_page_is_shown(client: Client) -> None:
    response = client.get(reverse("index"))

    assert response.status_code == 200
    assert b"The service is running." in response.content
    assert "Content-Security-Policy" in response.headers
    assert "Permissions-Policy" in response.headers


def test_an_unknown_address_has_a_page_of_its_own(client: Client) -> None:
    response = client.get("/nowhere/")

    assert response.status_code == 404
    assert b"Go to the front page" in response.content

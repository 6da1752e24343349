"""Settings of the forge that holds the estate repository: webhooks, merge requests, signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pgvillage.settings.common import Name, SecretSource, Section

ForgeKind = Literal["gitlab", "github", "gitea", "forgejo", "bitbucket"]
CommentKind = Literal["gitlab", "github", "gitea", "forgejo"]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]


class Hook(Section):
    """A webhook that a forge sends pushes to: POST /hooks/NAME."""

    forge: ForgeKind
    secret: SecretSource | None = Field(
        None, description="What the forge signs with; with GitLab the secret token that it sends along."
    )
    signing: SecretSource | None = Field(
        None, description="GitLab's signing token (whsec_…), which signs each delivery with its time."
    )
    repository: str | None = Field(
        None, description="The URL that the forge knows the repository by, where repository.url is another (a mirror)."
    )

    @model_validator(mode="after")
    def _some_proof(self) -> Hook:
        if self.signing is not None and self.forge != "gitlab":
            raise ValueError(f"`signing` is GitLab's; {self.forge} signs with `secret`")
        if (self.secret is None) == (self.signing is None):
            raise ValueError("a webhook needs exactly one of: secret, signing")
        return self


class Forge(Section):
    """Where `plan --comment` writes. What is unset is found in the environment of the CI."""

    kind: CommentKind | None = Field(None, description="Which forge; --comment names it too.")
    url: HttpUrl | None = Field(
        None, description="Its API, https://git.example/api/v4 for one; http on this machine only."
    )
    token: SecretSource | None = Field(None, description="May comment and set a commit's status, and nothing else.")
    ca: Path | None = Field(None, description="CA file that the server's certificate must chain to.")
    project: str | None = Field(None, min_length=1, description="OWNER/NAME, or GitLab's number of the project.")
    label: Name | None = Field(
        None, description="Tells this pipeline's comment and status from those of another one for the same repository."
    )


class Signatures(Section):
    """Whose commits are applied."""

    required: bool = Field(True, description="Refuse a revision with a commit that nobody listed here has signed.")
    allowed_signers: Path | None = Field(
        None, alias="allowedSigners", description="Keys that sign with ssh, in ssh-keygen's format of allowed signers."
    )
    keyring: Path | None = Field(None, description="Keys that sign with OpenPGP, as `gpg --export` writes them.")

    @model_validator(mode="after")
    def _some_keys(self) -> Signatures:
        if self.required and self.allowed_signers is None and self.keyring is None:
            raise ValueError("required signatures need allowedSigners, keyring, or both")
        return self

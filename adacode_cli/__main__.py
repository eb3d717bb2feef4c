"""python -m adacode_cli"""

from adacode_cli.cli.main import app

if __name__ == "__main__":
    app(prog_name="adacode")

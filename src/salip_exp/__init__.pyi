from salip_exp.api.model import SaLIP as SaLIP
from salip_exp.api.result import Segmentation as Segmentation
from salip_exp.api.runs import RunTables as RunTables
from salip_exp.api.runs import read_run as read_run
from salip_exp.errors import SalipError as SalipError

__version__: str
